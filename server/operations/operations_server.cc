#include "server/operations/operations_server.h"

#include <utility>
#include <vector>

#include "server/http/http_limits.h"
#include "server/http/http_log.h"
#include "server/http/listen_address.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using httplib::Request;
using httplib::Response;

constexpr char kTextType[] = "text/plain; charset=utf-8";
constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

void Answer(int status, std::string text, Response& response) {
  response.status = status;
  response.set_content(std::move(text), kTextType);
}

bool MayHaveBody(const Request& request) {
  return request.has_header("Transfer-Encoding") ||
         (request.has_header("Content-Length") &&
          (request.get_header_value_count("Content-Length") > 1 ||
           request.get_header_value("Content-Length") != "0"));
}

// A line for every check where it was asked for, or where one fails.
void AnswerReady(HealthChecks& health, const Request& request, Response& response) {
  std::vector<std::string> excluded;
  for (size_t i = 0; i < request.get_param_value_count("exclude"); ++i) {
    excluded.push_back(request.get_param_value("exclude", i));
  }
  HealthReport report = health.Look(excluded);
  if (!report.is_ready) return Answer(503, std::move(report.text), response);
  Answer(200, request.has_param("verbose") ? std::move(report.text) : "ok\n", response);
}

void AnswerLive(const Request& request, Response& response) {
  Answer(200, request.has_param("verbose") ? "[+]process ok\nlivez check passed\n" : "ok\n",
         response);
}

void Route(const OperationsServer::Dependencies& d, const Request& request, Response& response) {
  if (request.method != "GET" && request.method != "HEAD") {
    response.set_header("Allow", "GET, HEAD");
    return Answer(405, "expected GET or HEAD\n", response);
  }
  if (request.path == "/metrics") {
    response.status = 200;
    response.set_content(d.metrics->Scrape(), kMetricsType);
  } else if (request.path == "/livez") {
    AnswerLive(request, response);
  } else if (request.path == "/readyz") {
    AnswerReady(*d.health, request, response);
  } else {
    Answer(404, "expected /metrics, /livez or /readyz\n", response);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<OperationsServer>> OperationsServer::Start(
    const std::string& listen, const Dependencies& dependencies) {
  WDELTA_ASSIGN_OR_RETURN(const HostAndPort address,
                          ParseListenAddress("operations_listen", listen));
  auto server = std::make_unique<SocketServer>(http_limits::kOperationsConnections, Pace(),
                                               /*stats=*/nullptr, dependencies.tls);
  // Before the library's own routing, which matches regular expressions.
  server->set_pre_routing_handler([dependencies](const Request& request, Response& response) {
    Route(dependencies, request, response);
    return SocketServer::HandlerResponse::Handled;
  });
  server->set_post_routing_handler([](const Request& request, Response& response) {
    // No body is read, so that no request can follow it.
    if (!MayHaveBody(request)) return;
    response.headers.erase("Keep-Alive");
    response.headers.erase("Connection");
    response.set_header("Connection", "close");
  });
  server->set_exception_handler([](const Request&, Response& response, std::exception_ptr) {
    Answer(500, "the request cannot be served\n", response);
  });
  server->set_logger([log = dependencies.log](const Request& request, const Response& response) {
    // Not being ready is not an error.
    if (response.status != 503) LogRequest(*log, request, response);
  });
  WDELTA_ASSIGN_OR_RETURN(const int port, server->Bind(address.host, address.port));
  return std::unique_ptr<OperationsServer>(
      new OperationsServer(std::move(server), WithPort(listen, port)));
}

OperationsServer::OperationsServer(std::unique_ptr<SocketServer> server, std::string address)
    : server_(std::move(server)), address_(std::move(address)) {
  thread_ = std::thread([this] { server_->ServeUntilStopped(); });
}

OperationsServer::~OperationsServer() {
  server_->StopAccepting();
  server_->Drain(absl::ZeroDuration(), [] {});
  thread_.join();
}

}  // namespace wdelta
