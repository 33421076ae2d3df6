// One accepted connection, as the stream that cpp-httplib reads and writes.
//
// The library reads heads without bounds of size or time, so that heads are read here,
// whole and checked, before it sees the first byte. A peer that takes or sends too little
// for as long as it is waited for is given up. TLS, if any, lies below all of this. One thread
// at a time. Does not own the socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "httplib.h"
#include "server/http/http_limits.h"
#include "server/http/http_stats.h"
#include "server/http/tls_session.h"

namespace wdelta {

// Carries the `Range` of a request past the library, whose own handling knows no 416
// with the size of the file.
inline constexpr char kRangeHeader[] = "X-Wdelta-Range";

// The least that a peer must take or send.
struct Pace {
  absl::Duration window = absl::Milliseconds(http_limits::kPaceWindowMs);  // of waiting for it
  uint64_t min_bytes = http_limits::kMinBytesPerWindow;
};

// Waits for a peer as long as it keeps pace. One thread at a time.
class PacedWait {
 public:
  explicit PacedWait(const Pace& pace) : pace_(pace) {}
  // Until the socket is ready for `events`; false: the peer is too slow.
  bool Wait(int socket, short events);
  void Count(size_t bytes) { window_bytes_ += bytes; }
  void Restart() { *this = PacedWait(pace_); }

 private:
  Pace pace_;
  absl::Duration waited_;
  uint64_t window_bytes_ = 0;
};

class ConnectionStream final : public httplib::Stream {
 public:
  // `stats` counts bytes, and outlives the stream; null: nothing does. `tls`: of this socket;
  // null: none.
  ConnectionStream(int socket, const Pace& pace, HttpStats* stats = nullptr,
                   std::unique_ptr<TlsSession> tls = nullptr)
      : socket_(socket), stats_(stats), tls_(std::move(tls)), reads_(pace), writes_(pace) {}

  enum class Head {
    kRead,
    kNone,       // nothing of it has come
    kPart,       // not all of it has come
    kClosed,     // by the peer
    kTooLarge,   // more than kMaxHeadBytes or kMaxHeadLines
    kMalformed,  // a line that does not end with CR LF, or a NUL
  };
  // Takes the head of the next request as far as it has come, without waiting, and renames
  // its `Range`. Once it is there, not again before EndRequest.
  Head ReadHead();
  // What is left of the current request's head goes.
  void EndRequest();
  // Whether bytes of the next request were taken from the socket.
  bool HasUnread() const { return taken_ < buffer_.size() || body_taken_ < body_end_; }

  // What the library has read of the current request's body.
  uint64_t body_bytes() const { return body_bytes_; }

  bool is_readable() const override;
  bool is_writable() const override;
  // At most what has arrived; -1 at the end, or when the peer is too slow.
  ssize_t read(char* destination, size_t size) override;
  // All or nothing (-1).
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

  bool is_encrypted() const { return tls_ != nullptr; }
  // Tells a peer over TLS that nothing more comes, without waiting. May be repeated.
  void EndSending() {
    if (tls_ != nullptr) tls_->EndSending();
  }
  // Ends the sending side, then reads on for a while, so that the peer sees the answer
  // before it learns that the rest of what it sends is not wanted.
  void LingerBeforeClose();

 private:
  enum class Received { kSome, kNothing, kEnd };
  // Takes what has come, without waiting. An error is an end.
  Received Receive(char* destination, size_t max_bytes, size_t& received_bytes);
  Received ReceivePlain(char* destination, size_t max_bytes, size_t& received_bytes);
  Received ReceiveDecrypted(char* destination, size_t max_bytes, size_t& received_bytes);
  // Some of the bytes; waits until it can. -1: the peer is gone or too slow.
  ssize_t SendPlain(const char* data, size_t size);
  ssize_t SendEncrypted(const char* data, size_t size);
  // Appends it to `buffer_`.
  Received ReceiveHead();
  // Replaces what was in `body_`, all of it taken.
  Received ReceiveBody();
  // Checks the head that ends at `end` and renames its `Range`.
  Head TakeHead(size_t end);

  const int socket_;
  HttpStats* const stats_;
  const std::unique_ptr<TlsSession> tls_;
  // Of is_readable() and is_writable() too, which the library has as const.
  mutable PacedWait reads_;
  mutable PacedWait writes_;
  // Heads, and what came with them.
  std::string buffer_;
  size_t taken_ = 0;       // of buffer_
  size_t searched_ = 0;    // of buffer_, for the end of a head
  size_t head_bytes_ = 0;  // of the current head that the library has not read
  // kReadBufferBytes for what follows `buffer_` in the current request; null: not needed yet.
  std::unique_ptr<char[]> body_;
  size_t body_taken_ = 0;
  size_t body_end_ = 0;
  uint64_t body_bytes_ = 0;
};

}  // namespace wdelta
