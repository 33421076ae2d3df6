// What happened in a simulation, line by line: its hash tells whether two runs were the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace wdelta::testing {

// One thread at a time.
class Trace {
 public:
  void Add(std::string line) {
    for (const char c : line) Mix(static_cast<unsigned char>(c));
    Mix('\n');
    lines_.push_back(std::move(line));
    if (lines_.size() > kKeptLines) lines_.pop_front();
    ++line_count_;
  }
  // Of all lines (FNV-1a).
  uint64_t hash() const { return hash_; }
  uint64_t line_count() const { return line_count_; }
  // The last ones.
  const std::deque<std::string>& lines() const { return lines_; }

 private:
  static constexpr size_t kKeptLines = 20'000;

  void Mix(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x100000001B3; }

  uint64_t hash_ = 0xCBF29CE484222325;
  uint64_t line_count_ = 0;
  std::deque<std::string> lines_;
};

}  // namespace wdelta::testing
