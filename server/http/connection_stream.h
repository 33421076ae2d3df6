// One accepted connection, as the stream that cpp-httplib reads and writes.
//
// The library reads heads without bounds of size or time, so that heads are read here,
// whole and checked, before it sees the first byte. One thread at a time. Does not own
// the socket.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "httplib.h"

namespace wdelta {

// Carries the `Range` of a request past the library, whose own handling knows no 416
// with the size of the file.
inline constexpr char kRangeHeader[] = "X-Wdelta-Range";

class ConnectionStream final : public httplib::Stream {
 public:
  explicit ConnectionStream(int socket) : socket_(socket) {}

  enum class Head {
    kRead,
    kClosed,     // by the peer, or silent for too long
    kTooLarge,   // more than kMaxHeadBytes or kMaxHeadLines
    kMalformed,  // a line that does not end with CR LF, or a NUL
  };
  // Waits for the next request and takes its head, renaming `Range`.
  Head ReadHead();

  // What the library has read of the current request's body.
  uint64_t body_bytes() const { return body_bytes_; }

  bool is_readable() const override;
  bool is_writable() const override;
  // At most what has arrived; 0 at the end, -1 when nothing comes for kReadTimeoutMs.
  ssize_t read(char* destination, size_t size) override;
  // All or nothing (-1), within kWriteTimeoutMs.
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  // Appends what the peer sends to the buffer; false at the end, after an error or at
  // the deadline.
  bool Receive(size_t max_bytes, absl::Time deadline);
  // Checks the head that ends at `end` and renames its `Range`.
  Head TakeHead(size_t end);

  const int socket_;
  std::string buffer_;
  size_t taken_ = 0;       // of buffer_
  size_t head_bytes_ = 0;  // of the current head that the library has not read
  uint64_t body_bytes_ = 0;
};

// Ends the sending side, then reads on for a while, so that the peer sees the answer
// before it learns that the rest of what it sends is not wanted.
void LingerBeforeClose(int socket);

}  // namespace wdelta
