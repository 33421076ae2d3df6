#include "server/http/connection_stream.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/http/http_limits.h"

namespace wdelta {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";

// False at the deadline.
bool WaitFor(int socket, short events, absl::Time deadline) {
  while (true) {
    const int64_t left_ms = absl::ToInt64Milliseconds(
        absl::Ceil(std::max(deadline - absl::Now(), absl::ZeroDuration()), absl::Milliseconds(1)));
    pollfd watched{socket, events, 0};
    const int ready = poll(&watched, 1, static_cast<int>(left_ms));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

using NameFunction = int (*)(int, sockaddr*, socklen_t*);

void FillAddress(int socket, NameFunction name_function, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (name_function(socket, generic, &size) != 0) return;
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  if (getnameinfo(generic, size, host, sizeof(host), service, sizeof(service),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return;
  }
  ip = host;
  port = std::atoi(service);
}

}  // namespace

bool PacedWait::Wait(int socket, short events) {
  while (true) {
    const absl::Time begin = absl::Now();
    const bool is_ready = WaitFor(socket, events, begin + pace_.window - waited_);
    waited_ += absl::Now() - begin;
    if (waited_ >= pace_.window) {
      if (window_bytes_ < pace_.min_bytes) return false;
      waited_ = absl::ZeroDuration();
      window_bytes_ = 0;
    }
    if (is_ready) return true;
  }
}

ConnectionStream::Received ConnectionStream::Receive(char* destination, size_t max_bytes,
                                                     size_t& received_bytes) {
  const Received received = tls_ == nullptr
                                ? ReceivePlain(destination, max_bytes, received_bytes)
                                : ReceiveDecrypted(destination, max_bytes, received_bytes);
  if (stats_ != nullptr) {
    stats_->received_bytes.fetch_add(received_bytes, std::memory_order_relaxed);
  }
  return received;
}

ConnectionStream::Received ConnectionStream::ReceiveDecrypted(char* destination, size_t max_bytes,
                                                              size_t& received_bytes) {
  while (true) {
    switch (tls_->Read(destination, max_bytes, received_bytes)) {
      case TlsSession::Result::kSome:
        return Received::kSome;
      case TlsSession::Result::kWantsRead:
        return Received::kNothing;
      case TlsSession::Result::kWantsWrite:
        // Only of a peer that takes no answers to what it asks of TLS itself.
        if (!writes_.Wait(socket_, POLLOUT)) return Received::kEnd;
        break;
      case TlsSession::Result::kEnd:
        return Received::kEnd;
    }
  }
}

ConnectionStream::Received ConnectionStream::ReceivePlain(char* destination, size_t max_bytes,
                                                          size_t& received_bytes) {
  ssize_t received = -1;
  do {
    received = recv(socket_, destination, max_bytes, MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  received_bytes = static_cast<size_t>(std::max<ssize_t>(received, 0));
  if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received::kNothing;
  return received > 0 ? Received::kSome : Received::kEnd;
}

ConnectionStream::Received ConnectionStream::ReceiveHead() {
  char piece[4096];
  size_t received_bytes = 0;
  const Received received = Receive(piece, sizeof(piece), received_bytes);
  buffer_.append(piece, received_bytes);
  return received;
}

ConnectionStream::Received ConnectionStream::ReceiveBody() {
  // Left as the allocator gives it: its pages cost nothing before bytes come.
  if (body_ == nullptr) {
    body_ = std::make_unique_for_overwrite<char[]>(http_limits::kReadBufferBytes);
  }
  body_taken_ = 0;
  return Receive(body_.get(), http_limits::kReadBufferBytes, body_end_);
}

void ConnectionStream::EndRequest() {
  // Bytes of a head that the library did not want are no part of the next one.
  taken_ += head_bytes_;
  buffer_.erase(0, taken_);
  // An idle connection keeps no more than what it sent of its next request.
  if (body_ != nullptr) buffer_.append(body_.get() + body_taken_, body_end_ - body_taken_);
  buffer_.shrink_to_fit();
  body_.reset();
  body_taken_ = 0;
  body_end_ = 0;
  taken_ = 0;
  searched_ = 0;
  head_bytes_ = 0;
  body_bytes_ = 0;
  reads_.Restart();
  writes_.Restart();
}

ConnectionStream::Head ConnectionStream::ReadHead() {
  while (true) {
    const size_t end = buffer_.find(kHeadEnd, searched_);
    if (end != std::string::npos) return TakeHead(end + kHeadEnd.size());
    if (buffer_.size() > http_limits::kMaxHeadBytes) return Head::kTooLarge;
    searched_ = buffer_.size() < kHeadEnd.size() ? 0 : buffer_.size() - kHeadEnd.size() + 1;
    switch (ReceiveHead()) {
      case Received::kSome:
        break;
      case Received::kNothing:
        return buffer_.empty() ? Head::kNone : Head::kPart;
      case Received::kEnd:
        return Head::kClosed;
    }
  }
}

ConnectionStream::Head ConnectionStream::TakeHead(size_t end) {
  if (end > http_limits::kMaxHeadBytes) return Head::kTooLarge;
  std::string head;
  int lines = 0;
  for (size_t begin = 0; begin < end;) {
    const size_t stop = buffer_.find('\n', begin);
    const absl::string_view line = absl::string_view(buffer_).substr(begin, stop + 1 - begin);
    const size_t inner_end = line.size() - 2;
    if (!absl::EndsWith(line, "\r\n") || line.find('\r') != inner_end ||
        line.find('\0') != absl::string_view::npos) {
      return Head::kMalformed;
    }
    if (++lines > http_limits::kMaxHeadLines) return Head::kTooLarge;
    const absl::string_view name = line.substr(0, line.find(':'));
    if (absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(name), "range")) {
      absl::StrAppend(&head, kRangeHeader, line.substr(name.size()));
    } else {
      head.append(line.data(), line.size());
    }
    begin = stop + 1;
  }
  buffer_.replace(0, end, head);
  head_bytes_ = head.size();
  return Head::kRead;
}

bool ConnectionStream::is_readable() const {
  return HasUnread() || (tls_ != nullptr && tls_->HasDecrypted()) || reads_.Wait(socket_, POLLIN);
}

bool ConnectionStream::is_writable() const { return writes_.Wait(socket_, POLLOUT); }

ssize_t ConnectionStream::read(char* destination, size_t size) {
  while (!HasUnread()) {
    const Received received = ReceiveBody();
    if (received == Received::kEnd) return -1;
    if (received == Received::kNothing && !reads_.Wait(socket_, POLLIN)) return -1;
    reads_.Count(body_end_);
  }
  // The buffer comes first: the other is filled when all of it was taken.
  const bool is_in_buffer = taken_ < buffer_.size();
  const size_t available = head_bytes_ > 0 ? head_bytes_
                           : is_in_buffer  ? buffer_.size() - taken_
                                           : body_end_ - body_taken_;
  const size_t taking = std::min(size, available);
  const char* const source = is_in_buffer ? buffer_.data() + taken_ : body_.get() + body_taken_;
  std::memcpy(destination, source, taking);
  (is_in_buffer ? taken_ : body_taken_) += taking;
  if (head_bytes_ > 0) {
    head_bytes_ -= taking;
  } else {
    body_bytes_ += taking;
  }
  return static_cast<ssize_t>(taking);
}

ssize_t ConnectionStream::write(const char* data, size_t size) {
  for (size_t sent = 0; sent < size;) {
    const ssize_t count = tls_ == nullptr ? SendPlain(data + sent, size - sent)
                                          : SendEncrypted(data + sent, size - sent);
    if (count < 0) return -1;
    sent += static_cast<size_t>(count);
    writes_.Count(static_cast<size_t>(count));
    if (stats_ != nullptr) stats_->sent_bytes.fetch_add(count, std::memory_order_relaxed);
  }
  return static_cast<ssize_t>(size);
}

ssize_t ConnectionStream::SendPlain(const char* data, size_t size) {
  while (true) {
    const ssize_t count = send(socket_, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) return count;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!writes_.Wait(socket_, POLLOUT)) return -1;
    } else if (errno != EINTR) {
      return -1;
    }
  }
}

ssize_t ConnectionStream::SendEncrypted(const char* data, size_t size) {
  while (true) {
    size_t count = 0;
    switch (tls_->Write(data, size, count)) {
      case TlsSession::Result::kSome:
        return static_cast<ssize_t>(count);
      case TlsSession::Result::kWantsRead:
        if (!writes_.Wait(socket_, POLLIN)) return -1;
        break;
      case TlsSession::Result::kWantsWrite:
        if (!writes_.Wait(socket_, POLLOUT)) return -1;
        break;
      case TlsSession::Result::kEnd:
        return -1;
    }
  }
}

void ConnectionStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  FillAddress(socket_, getpeername, ip, port);
}

void ConnectionStream::get_local_ip_and_port(std::string& ip, int& port) const {
  FillAddress(socket_, getsockname, ip, port);
}

void ConnectionStream::LingerBeforeClose() {
  EndSending();
  shutdown(socket_, SHUT_WR);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(http_limits::kLingerMs);
  char dropped[16 * 1024];
  size_t total = 0;
  while (total < http_limits::kMaxLingerBytes && WaitFor(socket_, POLLIN, deadline)) {
    const ssize_t count = recv(socket_, dropped, sizeof(dropped), MSG_DONTWAIT);
    if (count <= 0) return;
    total += static_cast<size_t>(count);
  }
}

}  // namespace wdelta
