#include "server/http/socket_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/http/connection_stream.h"
#include "server/http/connection_threads.h"
#include "server/http/http_limits.h"
#include "storage/base/limits.h"

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

SocketServer::SocketServer(int max_connections) {
  // The library tells clients of them; they are kept in ServeConnection.
  set_keep_alive_max_count(http_limits::kMaxRequestsPerConnection);
  set_keep_alive_timeout(http_limits::kIdleTimeoutMs / 1000);
  new_task_queue = [max_connections] { return new ConnectionThreads(max_connections); };
  // Without SO_REUSEPORT, by which two daemons would share the connections of a port.
  set_socket_options([](socket_t socket) { SetOption(socket, SOL_SOCKET, SO_REUSEADDR); });
}

absl::StatusOr<int> SocketServer::Bind(const std::string& host, int port) {
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

bool SocketServer::Enter(socket_t socket, Activity activity) {
  absl::MutexLock lock(&mutex_);
  if (is_draining_) return false;
  connections_[socket] = activity;
  return true;
}

void SocketServer::Leave(socket_t socket) {
  absl::MutexLock lock(&mutex_);
  connections_.erase(socket);
}

bool SocketServer::process_and_close_socket(socket_t socket) {
  try {
    ServeConnection(socket);
  } catch (const std::exception&) {
    // Out of memory within the library: the connection ends, the daemon does not.
  }
  // Before the descriptor can be that of another connection.
  Leave(socket);
  ::close(socket);
  return true;
}

void SocketServer::ServeConnection(socket_t socket) {
  SetOption(socket, IPPROTO_TCP, TCP_NODELAY);
  ConnectionStream stream(socket);
  for (int served = 1; Enter(socket, Activity::kIdle); ++served) {
    const ConnectionStream::Head head = stream.ReadHead();
    if (head == ConnectionStream::Head::kClosed) return;
    if (head != ConnectionStream::Head::kRead) {
      const absl::string_view answer =
          head == ConnectionStream::Head::kTooLarge ? kTooLargeAnswer : kMalformedAnswer;
      if (stream.write(answer.data(), answer.size()) >= 0) LingerBeforeClose(socket);
      return;
    }
    if (!Enter(socket, Activity::kServing)) return;
    BodyCheck body;
    const auto set_up = [&body](httplib::Request& request) {
      request.ranges.clear();
      body.Expect(request);
      const std::string id = RequestIdOf(request);
      request.headers.erase(kRequestIdHeader);
      request.set_header(kRequestIdHeader, id);
      request.headers.erase(kReceivedHeader);
      request.set_header(kReceivedHeader, absl::StrCat(absl::ToUnixMicros(absl::Now())));
    };
    const bool is_last = served == http_limits::kMaxRequestsPerConnection;
    bool wants_close = false;
    if (!process_request(stream, is_last, wants_close, set_up)) return;
    if (!body.WasRead(stream)) return LingerBeforeClose(socket);
    if (is_last || wants_close) return;
  }
}

void SocketServer::StopAccepting() {
  absl::MutexLock lock(&mutex_);
  if (is_draining_) return;
  is_draining_ = true;
  for (const auto& [socket, activity] : connections_) {
    if (activity == Activity::kIdle) ::shutdown(socket, SHUT_RDWR);
  }
  // Ends the library's loop, which then closes the socket. Its own stop() would cut the
  // answers that are being sent.
  ::shutdown(svr_sock_, SHUT_RDWR);
}

void SocketServer::Drain(absl::Duration grace) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &SocketServer::HasNoConnection), grace);
  for (const auto& [socket, activity] : connections_) ::shutdown(socket, SHUT_RDWR);
}

}  // namespace wdelta
