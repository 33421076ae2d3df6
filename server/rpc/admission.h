// How many of a thing may go on at once. The excess is refused, never queued; where it is to wait,
// see admission_queue.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

namespace wdelta {

// Any thread may call it. Must outlive its slots.
class Admission {
 public:
  explicit Admission(int limit) : limit_(limit) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Gives its place back when it goes.
  class Slot {
   public:
    explicit Slot(Admission* owner) : owner_(owner) {}
    Slot(Slot&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (owner_ != nullptr) owner_->taken_.fetch_sub(1);
    }

   private:
    Admission* owner_;
  };

  // nullopt: full.
  std::optional<Slot> TryEnter() {
    if (taken_.fetch_add(1) < limit_) return Slot(this);
    taken_.fetch_sub(1);
    return std::nullopt;
  }

  int limit() const { return limit_; }
  // For who watches: more may be in a moment.
  int taken() const { return std::min(taken_.load(), limit_); }

 private:
  const int limit_;
  std::atomic<int> taken_{0};
};

}  // namespace wdelta
