#include "server/http/idle_connections.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace wdelta {
namespace {

constexpr uint64_t kWakeNumber = 0;  // no connection has it
constexpr int kMaxEvents = 64;

absl::Status NoDescriptor() {
  return absl::ResourceExhaustedError(absl::StrCat("epoll: ", std::strerror(errno)));
}

bool Watch(int epoll, int descriptor, uint64_t number) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = number;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<IdleConnections>> IdleConnections::Start(Take ready, Take ended) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return NoDescriptor();
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0 || !Watch(epoll, wake, kWakeNumber)) {
    const absl::Status status = NoDescriptor();
    ::close(epoll);
    if (wake >= 0) ::close(wake);
    return status;
  }
  return std::unique_ptr<IdleConnections>(
      new IdleConnections(epoll, wake, std::move(ready), std::move(ended)));
}

IdleConnections::IdleConnections(int epoll, int wake, Take ready, Take ended)
    : epoll_(epoll), wake_(wake), ready_(std::move(ready)), ended_(std::move(ended)) {
  thread_ = std::thread([this] { Run(); });
}

IdleConnections::~IdleConnections() {
  Stop();
  Join();
  ::close(wake_);
  ::close(epoll_);
}

void IdleConnections::Wake() {
  const uint64_t one = 1;
  // Fails only when it is set already.
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

void IdleConnections::Add(ConnectionPtr connection) {
  bool is_first = false;
  {
    absl::MutexLock lock(&mutex_);
    const uint64_t number = next_number_++;
    if (!is_stopping_ && Watch(epoll_, connection->socket, number)) {
      const auto added = deadlines_.insert({connection->deadline, number}).first;
      is_first = added == deadlines_.begin();
      connections_[number] = std::move(connection);
    }
  }
  if (connection != nullptr) return ended_(std::move(connection));
  if (is_first) Wake();
}

ConnectionPtr IdleConnections::RemoveLocked(uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return nullptr;
  ConnectionPtr connection = std::move(found->second);
  connections_.erase(found);
  deadlines_.erase({connection->deadline, number});
  epoll_ctl(epoll_, EPOLL_CTL_DEL, connection->socket, nullptr);
  return connection;
}

ConnectionPtr IdleConnections::Remove(uint64_t number) {
  absl::MutexLock lock(&mutex_);
  return RemoveLocked(number);
}

bool IdleConnections::EndFirst() {
  ConnectionPtr connection;
  {
    absl::MutexLock lock(&mutex_);
    if (deadlines_.empty()) return false;
    connection = RemoveLocked(deadlines_.begin()->second);
  }
  ended_(std::move(connection));
  return true;
}

void IdleConnections::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    is_stopping_ = true;
  }
  while (EndFirst()) {
  }
  Wake();
}

int IdleConnections::TimeoutMs() {
  absl::MutexLock lock(&mutex_);
  if (is_stopping_) return 0;
  if (deadlines_.empty()) return -1;
  const absl::Duration left = deadlines_.begin()->first - absl::Now();
  return static_cast<int>(absl::ToInt64Milliseconds(
      absl::Ceil(std::max(left, absl::ZeroDuration()), absl::Milliseconds(1))));
}

void IdleConnections::EndExpired() {
  std::vector<ConnectionPtr> expired;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = absl::Now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      expired.push_back(RemoveLocked(deadlines_.begin()->second));
    }
  }
  for (ConnectionPtr& connection : expired) ended_(std::move(connection));
}

void IdleConnections::Run() {
  std::array<epoll_event, kMaxEvents> events;
  while (true) {
    const int count = epoll_wait(epoll_, events.data(), kMaxEvents, TimeoutMs());
    {
      absl::MutexLock lock(&mutex_);
      if (is_stopping_) return;
    }
    for (int i = 0; i < count; ++i) {
      const uint64_t number = events[i].data.u64;
      if (number == kWakeNumber) {
        uint64_t ignored = 0;
        [[maybe_unused]] const ssize_t taken = ::read(wake_, &ignored, sizeof(ignored));
      } else if (ConnectionPtr connection = Remove(number); connection != nullptr) {
        ready_(std::move(connection));
      }
    }
    EndExpired();
  }
}

}  // namespace wdelta
