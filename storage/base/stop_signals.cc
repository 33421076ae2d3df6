#include "storage/base/stop_signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace wdelta {

absl::StatusOr<std::unique_ptr<StopSignals>> StopSignals::Install(std::function<void()> on_stop) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  signal(SIGPIPE, SIG_IGN);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return absl::InternalError(absl::StrCat("cannot block signals: ", std::strerror(error)));
  }
  const int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
  const int quit_fd = eventfd(0, EFD_CLOEXEC);
  if (signal_fd < 0 || quit_fd < 0) {
    return absl::InternalError(absl::StrCat("cannot listen for signals: ", std::strerror(errno)));
  }
  return std::unique_ptr<StopSignals>(new StopSignals(signal_fd, quit_fd, std::move(on_stop)));
}

StopSignals::StopSignals(int signal_fd, int quit_fd, std::function<void()> on_stop)
    : signal_fd_(signal_fd),
      quit_fd_(quit_fd),
      on_stop_(std::move(on_stop)),
      thread_([this] { Listen(); }) {}

StopSignals::~StopSignals() {
  const uint64_t one = 1;
  (void)!write(quit_fd_, &one, sizeof(one));
  thread_.join();
  close(signal_fd_);
  close(quit_fd_);
}

int StopSignals::Wait() {
  stop_.WaitForNotification();
  return first_signal_;
}

void StopSignals::Listen() {
  pollfd fds[] = {{signal_fd_, POLLIN, 0}, {quit_fd_, POLLIN, 0}};
  while (true) {
    if (poll(fds, 2, -1) < 0) continue;  // EINTR
    if ((fds[1].revents & POLLIN) != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) != sizeof(info)) continue;
    if (stop_.HasBeenNotified()) _exit(128 + static_cast<int>(info.ssi_signo));
    first_signal_ = static_cast<int>(info.ssi_signo);
    stop_.Notify();
    if (on_stop_) on_stop_();
  }
}

}  // namespace wdelta
