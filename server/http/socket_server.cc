#include "server/http/socket_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/http/connection_stream.h"
#include "server/http/http_limits.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kTooLargeAnswer =
    "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    "Content-Length: 0\r\n\r\n";
constexpr absl::string_view kMalformedAnswer =
    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

void SetOption(socket_t socket, int level, int name) {
  const int on = 1;
  setsockopt(socket, level, name, &on, sizeof(on));
}

std::string RequestIdOf(const httplib::Request& request) {
  const std::string id = request.get_header_value(kRequestIdHeader);
  const bool is_plain = std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (!id.empty() && id.size() <= limits::kMaxRequestIdBytes && is_plain) return id;
  thread_local absl::InsecureBitGen random;
  return absl::StrCat(absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16));
}

absl::Time DeadlineIn(int milliseconds) { return absl::Now() + absl::Milliseconds(milliseconds); }

// Runs what the library accepts in the thread that accepts.
class InPlace final : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> take) override { take(); }
  void shutdown() override {}
};

// Whether what follows on the connection is the next request.
class BodyCheck {
 public:
  void Expect(const httplib::Request& request) {
    const std::string length = request.get_header_value("Content-Length");
    is_known_ = !request.has_header("Transfer-Encoding") &&
                request.get_header_value_count("Content-Length") <= 1 &&
                (length.empty() || absl::SimpleAtoi(length, &expected_bytes_));
  }
  bool WasRead(const ConnectionStream& stream) const {
    return is_known_ && stream.body_bytes() == expected_bytes_;
  }

 private:
  bool is_known_ = false;
  uint64_t expected_bytes_ = 0;
};

}  // namespace

SocketServer::SocketServer(int max_serving, const Pace& pace, HttpStats* stats,
                           const TlsCertificate* tls)
    : max_connections_(static_cast<size_t>(max_serving) + http_limits::kMaxWaitingConnections),
      max_serving_(max_serving),
      pace_(pace),
      stats_(stats),
      tls_(tls) {
  // The library tells clients of them; they are kept here.
  set_keep_alive_max_count(http_limits::kMaxRequestsPerConnection);
  set_keep_alive_timeout(http_limits::kIdleTimeoutMs / 1000);
  new_task_queue = [] { return new InPlace; };
  // Without SO_REUSEPORT, by which two daemons would share the connections of a port.
  set_socket_options([](socket_t socket) { SetOption(socket, SOL_SOCKET, SO_REUSEADDR); });
}

absl::StatusOr<int> SocketServer::Bind(const std::string& host, int port) {
  WDELTA_ASSIGN_OR_RETURN(
      idle_, IdleConnections::Start([this](ConnectionPtr c) { AwaitThread(std::move(c)); },
                                    [this](ConnectionPtr c) { Close(std::move(c)); }));
  threads_ = std::make_unique<ConnectionThreads>(max_serving_,
                                                 [this](ConnectionPtr c) { Serve(std::move(c)); });
  const int bound = port == 0 ? bind_to_any_port(host) : (bind_to_port(host, port) ? port : -1);
  // The library's own queue of unaccepted connections is too short for a client with
  // a dozen of them.
  if (bound <= 0 || ::listen(svr_sock_, http_limits::kListenBacklog) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", host, ":", port,
                     ": the address is in use, not ours, or does not resolve"));
  }
  return bound;
}

void SocketServer::ServeUntilStopped() {
  listen_after_bind();
  StopAccepting();  // when the library ended by itself
  idle_->Join();
  threads_->Stop();
}

bool SocketServer::Enter(const Connection& connection, Activity activity) {
  absl::MutexLock lock(&mutex_);
  if (is_draining_) return false;
  const auto [entry, is_new] = connections_.try_emplace(connection.socket, activity);
  const bool was_idle = !is_new && entry->second == Activity::kIdle;
  idle_count_ += (activity == Activity::kIdle ? 1 : 0) - (was_idle ? 1 : 0);
  entry->second = activity;
  return true;
}

void SocketServer::Close(ConnectionPtr connection) {
  absl::MutexLock lock(&mutex_);
  const auto found = connections_.find(connection->socket);
  if (found != connections_.end()) {
    if (found->second == Activity::kIdle) --idle_count_;
    connections_.erase(found);
  }
  // Within the lock: the descriptor may be that of another connection at once.
  connection.reset();
}

void SocketServer::MakeRoom() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &SocketServer::CanMakeRoom));
      if (is_draining_ || connections_.size() < max_connections_) return;
    }
    // False for an instant, while one is on its way to a thread or from there.
    if (!idle_->EndFirst()) std::this_thread::yield();
  }
}

bool SocketServer::process_and_close_socket(socket_t socket) {
  std::unique_ptr<TlsSession> tls;
  if (tls_ != nullptr && (tls = TlsSession::Start(*tls_, socket)) == nullptr) {
    ::close(socket);
    return true;
  }
  auto connection = std::make_unique<Connection>(socket, pace_, stats_, std::move(tls));
  MakeRoom();
  SetOption(socket, IPPROTO_TCP, TCP_NODELAY);
  connection->deadline = DeadlineIn(http_limits::kIdleTimeoutMs);
  AwaitRequest(std::move(connection));
  return true;
}

void SocketServer::AwaitRequest(ConnectionPtr connection) {
  if (!Enter(*connection, Activity::kIdle)) return Close(std::move(connection));
  idle_->Add(std::move(connection));
}

void SocketServer::AwaitThread(ConnectionPtr connection) {
  if (!Enter(*connection, Activity::kServing)) return Close(std::move(connection));
  threads_->Add(std::move(connection));
}

void SocketServer::Serve(ConnectionPtr connection) {
  Next next = Next::kClose;
  try {
    next = ServeRequests(*connection);
  } catch (const std::exception&) {
    // Out of memory within the library: the connection ends, the daemon does not.
  }
  if (next == Next::kClose) return Close(std::move(connection));
  AwaitRequest(std::move(connection));
}

SocketServer::Next SocketServer::ServeRequests(Connection& connection) {
  ConnectionStream& stream = connection.stream;
  while (true) {
    const bool is_first = !stream.HasUnread();
    switch (stream.ReadHead()) {
      case ConnectionStream::Head::kRead:
        break;
      case ConnectionStream::Head::kNone:
        return Next::kWait;
      case ConnectionStream::Head::kPart:
        if (is_first) connection.deadline = DeadlineIn(http_limits::kHeadTimeoutMs);
        return Next::kWait;
      case ConnectionStream::Head::kClosed:
        return Next::kClose;
      case ConnectionStream::Head::kTooLarge:
        return Refuse(stream, kTooLargeAnswer);
      case ConnectionStream::Head::kMalformed:
        return Refuse(stream, kMalformedAnswer);
    }
    if (!Enter(connection, Activity::kServing)) return Next::kClose;
    if (ServeRequest(connection) == Next::kClose) return Next::kClose;
    stream.EndRequest();
    connection.deadline = DeadlineIn(http_limits::kIdleTimeoutMs);
  }
}

SocketServer::Next SocketServer::Refuse(ConnectionStream& stream, absl::string_view answer) {
  if (stream.write(answer.data(), answer.size()) >= 0) stream.LingerBeforeClose();
  return Next::kClose;
}

SocketServer::Next SocketServer::ServeRequest(Connection& connection) {
  BodyCheck body;
  const auto set_up = [&](httplib::Request& request) {
    request.ranges.clear();
    body.Expect(request);
    const std::string id = RequestIdOf(request);
    request.headers.erase(kRequestIdHeader);
    request.set_header(kRequestIdHeader, id);
    request.headers.erase(kEncryptedHeader);
    if (connection.stream.is_encrypted()) request.set_header(kEncryptedHeader, "1");
    request.headers.erase(kReceivedHeader);
    request.set_header(kReceivedHeader, absl::StrCat(absl::ToUnixMicros(absl::Now())));
  };
  const bool is_last = ++connection.served == http_limits::kMaxRequestsPerConnection;
  bool wants_close = false;
  if (!process_request(connection.stream, is_last, wants_close, set_up)) return Next::kClose;
  if (!body.WasRead(connection.stream)) {
    connection.stream.LingerBeforeClose();
    return Next::kClose;
  }
  return is_last || wants_close ? Next::kClose : Next::kWait;
}

void SocketServer::StopAccepting() {
  {
    absl::MutexLock lock(&mutex_);
    if (is_draining_) return;
    is_draining_ = true;
    // Ends the library's loop, which then closes the socket. Its own stop() would cut the
    // answers that are being sent.
    ::shutdown(svr_sock_, SHUT_RDWR);
  }
  if (idle_ != nullptr) idle_->Stop();
}

void SocketServer::Drain(absl::Duration grace, const std::function<void()>& stop) {
  {
    absl::MutexLock lock(&mutex_);
    if (mutex_.AwaitWithTimeout(absl::Condition(this, &SocketServer::HasNoConnection), grace)) {
      return;
    }
  }
  stop();
  absl::MutexLock lock(&mutex_);
  for (const auto& [socket, activity] : connections_) ::shutdown(socket, SHUT_RDWR);
}

}  // namespace wdelta
