// SIGTERM and SIGINT as an event: the first asks for a stop, the second ends the
// process at once.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"

namespace wdelta {

// Must be made before any other thread: it blocks the signals, which threads
// inherit, and takes them in a thread of its own, so that no code runs in a signal
// handler. Also ignores SIGPIPE. Once in a process.
class StopSignals {
 public:
  // `on_stop` is called once, in that thread, and must not block.
  static absl::StatusOr<std::unique_ptr<StopSignals>> Install(std::function<void()> on_stop = {});
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Any thread. Returns the number of the signal.
  int Wait();

 private:
  StopSignals(int signal_fd, int quit_fd, std::function<void()> on_stop);
  void Listen();

  const int signal_fd_;
  const int quit_fd_;  // an eventfd, written by the destructor
  const std::function<void()> on_stop_;
  int first_signal_ = 0;  // written before `stop_` is notified
  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace wdelta
