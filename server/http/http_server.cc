#include "server/http/http_server.h"

#include <algorithm>
#include <utility>

#include "server/http/commit_uploads.h"
#include "server/http/http_log.h"
#include "server/http/hub_access.h"
#include "server/http/hub_answer.h"
#include "server/http/hub_body.h"
#include "server/http/hub_files.h"
#include "server/http/hub_models.h"
#include "server/http/hub_objects.h"
#include "server/http/hub_pages.h"
#include "server/http/hub_repo_pages.h"
#include "server/http/hub_route.h"
#include "server/http/hub_write_pages.h"
#include "server/http/listen_address.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

// Which part answers a request. Any thread.
class HttpServer::Routes {
 public:
  // Uploads, and downloads that wait, take seven eighths of the threads at most; the dependencies
  // bound downloads that run.
  Routes(const Dependencies& d, const LinkSigner& signer, int max_connections)
      : store_(*d.store),
        log_(*d.log),
        access_(d.authenticator, signer, d.clock),
        models_(d.store, d.catalog, d.clock),
        files_(d.store, &models_, {d.fetches, d.downloads, max_connections / 8}, d.log),
        pages_(&models_),
        objects_(d.files, &d.store->disk(), d.clock, d.incoming_path),
        repo_pages_(d.store, &models_),
        write_pages_(d.store, &models_, &objects_, &access_, std::max(1, max_connections * 3 / 4)) {
  }

  // Before the first request.
  absl::Status Prepare() {
    WDELTA_RETURN_IF_ERROR(objects_.Clear());
    return CancelCommitUploads(store_.uploads());
  }
  // Ends what would go on without its client.
  void Stop() { write_pages_.Stop(); }

  // GET and HEAD.
  void Read(const httplib::Request& request, httplib::Response& response) {
    objects_.Sweep();
    const absl::StatusOr<HubRoute> route = ParseHubTarget(request.target);
    if (!route.ok()) return AnswerError(route.status(), response);
    HubCaller caller;
    const absl::Status allowed = access_.Check(*route, request, caller);
    if (!allowed.ok()) return AnswerError(allowed, response);
    const NameCheck check_name = caller.name_check();
    switch (route->kind) {
      case HubRoute::Kind::kHealth:
      case HubRoute::Kind::kTelemetry:
        return AnswerJson(nlohmann::json::object(), response);
      case HubRoute::Kind::kWhoAmI:
        return HubPages::WhoAmI(caller.identity.get(), response);
      case HubRoute::Kind::kResolve:
        return files_.Serve(*route, request, check_name, response);
      case HubRoute::Kind::kInfo:
        return pages_.Info(*route, check_name, response);
      case HubRoute::Kind::kTree:
        return pages_.Tree(*route, request, check_name, response);
      case HubRoute::Kind::kCommits:
        return pages_.Commits(*route, check_name, response);
      case HubRoute::Kind::kRefs:
        return pages_.Refs(*route, check_name, response);
      case HubRoute::Kind::kPathsInfo:
      case HubRoute::Kind::kCreateRepo:
      case HubRoute::Kind::kValidateYaml:
      case HubRoute::Kind::kPreupload:
      case HubRoute::Kind::kCommit:
      case HubRoute::Kind::kLfsBatch:
      case HubRoute::Kind::kLfsVerify:
        return AnswerMethodNotAllowed("POST", response);
      case HubRoute::Kind::kLfsObject:
        return AnswerMethodNotAllowed("PUT", response);
      case HubRoute::Kind::kTag:
      case HubRoute::Kind::kBranch:
        return AnswerMethodNotAllowed("POST, DELETE", response);
      case HubRoute::Kind::kUnknown:
        return AnswerNoRoute(response);
    }
  }

  // POST, PUT and DELETE. A body that is not read is dropped with its connection.
  void Write(const httplib::Request& request, httplib::Response& response,
             const httplib::ContentReader& reader) {
    objects_.Sweep();
    const absl::StatusOr<HubRoute> route = ParseHubTarget(request.target);
    if (!route.ok()) return AnswerError(route.status(), response);
    HubCaller caller;
    const absl::Status allowed = access_.Check(*route, request, caller);
    if (allowed.ok()) {
      WriteAs(caller, *route, request, response, reader);
    } else {
      AnswerError(allowed, response);
    }
    HubAccess::Audit(log_, *route, caller, request, response);
  }

 private:
  void WriteAs(HubCaller& caller, const HubRoute& route, const httplib::Request& request,
               httplib::Response& response, const httplib::ContentReader& reader) {
    if (request.is_multipart_form_data()) {
      AnswerError(MakeError(absl::StatusCode::kInvalidArgument, "BAD_BODY",
                            "body: expected JSON or an URL-encoded form, found multipart"),
                  response);
    } else if (route.kind == HubRoute::Kind::kUnknown) {
      AnswerNoRoute(response);
    } else if (repo_pages_.Serve(route, request, reader, caller, response) ||
               write_pages_.Serve(route, request, reader, caller, response)) {
      return;
    } else if (route.kind != HubRoute::Kind::kPathsInfo || request.method != "POST") {
      AnswerMethodNotAllowed("another method", response);
    } else {
      const absl::StatusOr<std::string> body = ReadSmallBody(reader);
      if (!body.ok()) return AnswerError(body.status(), response);
      pages_.PathsInfo(route, request, *body, caller.name_check(), response);
    }
  }

  static void AnswerNoRoute(httplib::Response& response) {
    AnswerError(MakeError(absl::StatusCode::kNotFound, "ROUTE_NOT_FOUND",
                          "nothing is served under this path"),
                response);
  }

  ModelStore& store_;
  spdlog::logger& log_;
  const HubAccess access_;
  HubModels models_;
  HubFiles files_;
  HubPages pages_;
  HubObjects objects_;
  HubRepoPages repo_pages_;
  HubWritePages write_pages_;
};

namespace {

// Whether the server reads another request from the connection: only what certainly read
// all of a body may be followed by one.
bool MayStayOpen(const httplib::Request& request, const httplib::Response& response) {
  if (request.has_header("Transfer-Encoding")) return false;
  const size_t lengths = request.get_header_value_count("Content-Length");
  if (lengths == 0 || (lengths == 1 && request.get_header_value("Content-Length") == "0")) {
    return true;
  }
  const bool is_read = request.method == "POST" || request.method == "PUT";
  return lengths == 1 && is_read && response.status < 400;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpOptions& options,
                                                              const Dependencies& dependencies) {
  WDELTA_ASSIGN_OR_RETURN(const HostAndPort listen,
                          ParseListenAddress("http_listen", options.listen));
  WDELTA_ASSIGN_OR_RETURN(const LinkSigner signer, LinkSigner::Create());
  auto routes = std::make_unique<Routes>(dependencies, signer, options.max_connections);
  WDELTA_RETURN_IF_ERROR(routes->Prepare());
  auto server = std::make_unique<SocketServer>(options.max_connections, options.pace,
                                               dependencies.stats, dependencies.tls);

  using httplib::ContentReader;
  using httplib::Request;
  using httplib::Response;
  // All before the library's own routing, which matches regular expressions.
  server->set_pre_routing_handler(
      [routes = routes.get()](const Request& request, Response& response) {
        const std::string& method = request.method;
        // The library answers in a matching method only; its patterns are not for long paths.
        const bool is_write = method == "POST" || method == "PUT" || method == "DELETE";
        if (is_write && request.target.size() <= http_limits::kMaxTargetBytes) {
          return SocketServer::HandlerResponse::Unhandled;
        }
        if (method == "GET" || method == "HEAD" || is_write) {
          routes->Read(request, response);
        } else {
          AnswerMethodNotAllowed("GET, HEAD, POST, PUT, DELETE", response);
        }
        return SocketServer::HandlerResponse::Handled;
      });
  const auto write = [routes = routes.get()](const Request& request, Response& response,
                                             const ContentReader& reader) {
    routes->Write(request, response, reader);
  };
  constexpr char kAnyPath[] = R"([\s\S]*)";
  server->Post(kAnyPath, write);
  server->Put(kAnyPath, write);
  server->Delete(kAnyPath, write);
  server->set_exception_handler([](const Request&, Response& response, std::exception_ptr) {
    AnswerError(absl::InternalError("the request cannot be served"), response);
  });
  server->set_post_routing_handler([](const Request& request, Response& response) {
    response.set_header(kRequestIdHeader, request.get_header_value(kRequestIdHeader));
    if (!MayStayOpen(request, response)) {
      response.headers.erase("Keep-Alive");
      response.headers.erase("Connection");
      response.set_header("Connection", "close");
    }
  });
  server->set_logger([log = dependencies.log, stats = dependencies.stats](
                         const Request& request, const Response& response) {
    LogRequest(*log, request, response);
    if (stats != nullptr) CountRequest(*stats, request, response);
  });

  WDELTA_ASSIGN_OR_RETURN(const int port, server->Bind(listen.host, listen.port));
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::move(routes), std::move(server), WithPort(options.listen, port)));
}

HttpServer::HttpServer(std::unique_ptr<Routes> routes, std::unique_ptr<SocketServer> server,
                       std::string address)
    : routes_(std::move(routes)), server_(std::move(server)), address_(std::move(address)) {
  thread_ = std::thread([this] { server_->ServeUntilStopped(); });
}

HttpServer::~HttpServer() { Drain(absl::ZeroDuration()); }

void HttpServer::Drain(absl::Duration grace) {
  StopAccepting();
  server_->Drain(grace, [this] { routes_->Stop(); });
  if (thread_.joinable()) thread_.join();
}

}  // namespace wdelta
