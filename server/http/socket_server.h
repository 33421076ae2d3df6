// cpp-httplib's server with bounded heads, a bounded number of connections, no thread for
// an idle one, and a drain.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "httplib.h"
#include "server/http/connection.h"
#include "server/http/connection_threads.h"
#include "server/http/idle_connections.h"

namespace wdelta {

// What a request carries besides its own headers, set by the server.
inline constexpr char kRequestIdHeader[] = "X-Request-Id";
inline constexpr char kReceivedHeader[] = "X-Wdelta-Received-Us";  // microseconds, Unix epoch
inline constexpr char kEncryptedHeader[] = "X-Wdelta-Encrypted";   // of what came over TLS

// Handlers are set before ServeUntilStopped.
class SocketServer final : public httplib::Server {
 public:
  // `max_serving` connections have a thread at once; kMaxWaitingConnections more may be
  // idle or wait for one. Beyond them the one that was idle longest is closed. `stats` counts
  // the bytes of connections; null: nothing does. `tls`: of all connections; null: they are plain.
  // Both outlive the server.
  SocketServer(int max_serving, const Pace& pace, HttpStats* stats = nullptr,
               const TlsCertificate* tls = nullptr);

  // The port that was bound; port 0: any free one. UNAVAILABLE naming the address,
  // RESOURCE_EXHAUSTED.
  absl::StatusOr<int> Bind(const std::string& host, int port);
  // Once, after Bind. Blocks until StopAccepting, and until all connections have ended.
  void ServeUntilStopped();
  // Refuses further connections and requests; those that run go on. May be repeated, as
  // may Drain. Any thread.
  void StopAccepting() ABSL_LOCKS_EXCLUDED(mutex_);
  // After StopAccepting. When connections still run after `grace`, calls `stop` and cuts
  // them.
  void Drain(absl::Duration grace, const std::function<void()>& stop) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class Activity { kIdle, kServing };
  enum class Next { kWait, kClose };

  // Called by the library's thread that accepts.
  bool process_and_close_socket(socket_t socket) override;
  void MakeRoom() ABSL_LOCKS_EXCLUDED(mutex_);
  // In one of the threads.
  void Serve(ConnectionPtr connection);
  // The requests that have come.
  Next ServeRequests(Connection& connection);
  Next ServeRequest(Connection& connection);
  static Next Refuse(ConnectionStream& stream, absl::string_view answer);
  void AwaitRequest(ConnectionPtr connection);
  void AwaitThread(ConnectionPtr connection);
  // False: the server drains.
  bool Enter(const Connection& connection, Activity activity) ABSL_LOCKS_EXCLUDED(mutex_);
  void Close(ConnectionPtr connection) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasNoConnection() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return connections_.empty();
  }
  bool CanMakeRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_draining_ || idle_count_ > 0 || connections_.size() < max_connections_;
  }

  const size_t max_connections_;
  const int max_serving_;
  const Pace pace_;
  HttpStats* const stats_;
  const TlsCertificate* const tls_;
  absl::Mutex mutex_;
  bool is_draining_ ABSL_GUARDED_BY(mutex_) = false;
  int idle_count_ ABSL_GUARDED_BY(mutex_) = 0;  // of connections_
  absl::flat_hash_map<socket_t, Activity> connections_ ABSL_GUARDED_BY(mutex_);
  // From Bind on. The threads first, which hand on to the other.
  std::unique_ptr<IdleConnections> idle_;
  std::unique_ptr<ConnectionThreads> threads_;
};

}  // namespace wdelta
