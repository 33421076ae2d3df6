// cpp-httplib's server with bounded heads, a bounded number of connections and a drain.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "httplib.h"

namespace wdelta {

// What a request carries besides its own headers, set by the server.
inline constexpr char kRequestIdHeader[] = "X-Request-Id";
inline constexpr char kReceivedHeader[] = "X-Wdelta-Received-Us";  // microseconds, Unix epoch

// Handlers are set before ServeUntilStopped.
class SocketServer final : public httplib::Server {
 public:
  explicit SocketServer(int max_connections);

  // The port that was bound; port 0: any free one. UNAVAILABLE naming the address.
  absl::StatusOr<int> Bind(const std::string& host, int port);
  // Blocks until StopAccepting, and until all connections have ended.
  void ServeUntilStopped() { listen_after_bind(); }
  // Refuses further connections and requests; those that run go on. May be repeated, as
  // may Drain. Any thread.
  void StopAccepting() ABSL_LOCKS_EXCLUDED(mutex_);
  // After StopAccepting. Connections that still run after `grace` are cut.
  void Drain(absl::Duration grace) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class Activity { kIdle, kServing };

  bool process_and_close_socket(socket_t socket) override;
  void ServeConnection(socket_t socket);
  // False: the server drains.
  bool Enter(socket_t socket, Activity activity) ABSL_LOCKS_EXCLUDED(mutex_);
  void Leave(socket_t socket) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasNoConnection() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return connections_.empty();
  }

  absl::Mutex mutex_;
  bool is_draining_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<socket_t, Activity> connections_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta
