// An accepted connection and what becomes of it between requests.
#pragma once

#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "server/http/connection_stream.h"

namespace wdelta {

// One thread at a time. Closes its socket at the end.
struct Connection {
  Connection(int accepted, const Pace& pace, HttpStats* stats = nullptr,
             std::unique_ptr<TlsSession> tls = nullptr)
      : socket(accepted), stream(accepted, pace, stats, std::move(tls)) {}
  ~Connection() {
    stream.EndSending();
    ::close(socket);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const int socket;
  ConnectionStream stream;
  int served = 0;  // requests
  // Until when the head of the next request must be whole, or begin.
  absl::Time deadline;
};
using ConnectionPtr = std::unique_ptr<Connection>;

}  // namespace wdelta
