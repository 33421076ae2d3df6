#include "storage/base/id.h"

#include <cstdint>

namespace wdelta {
namespace {

constexpr absl::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

// The next text in order of the alphabet, for ids made within one millisecond.
std::string Increment(std::string id) {
  for (size_t i = id.size(); i-- > 0;) {
    const size_t digit = kAlphabet.find(id[i]);
    if (digit + 1 < kAlphabet.size()) {
      id[i] = kAlphabet[digit + 1];
      return id;
    }
    id[i] = kAlphabet[0];
  }
  return id;
}

}  // namespace

uint64_t IdGenerator::RandomDigit() {
  if (random_) return random_() % kAlphabet.size();
  return absl::Uniform<uint64_t>(unpredictable_, 0, kAlphabet.size());
}

std::string IdGenerator::Next() {
  uint64_t time_ms = static_cast<uint64_t>(absl::ToUnixMillis(clock_->Now()));
  absl::MutexLock lock(&mutex_);
  std::string id(kIdChars, '0');
  for (int i = 10; i-- > 0; time_ms >>= 5) id[i] = kAlphabet[time_ms & 31];
  for (int i = 10; i < kIdChars; ++i) id[i] = kAlphabet[RandomDigit()];
  if (id <= last_) id = Increment(last_);
  last_ = id;
  return id;
}

bool IsWellFormedId(absl::string_view id) {
  if (id.size() != kIdChars) return false;
  for (const char c : id) {
    if (kAlphabet.find(c) == absl::string_view::npos) return false;
  }
  return true;
}

absl::Time TimeOfId(absl::string_view id) {
  int64_t time_ms = 0;
  for (const char c : id.substr(0, 10)) {
    time_ms = time_ms << 5 | static_cast<int64_t>(kAlphabet.find(c));
  }
  return absl::FromUnixMillis(time_ms);
}

}  // namespace wdelta
