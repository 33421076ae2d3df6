// Signatures of links that are followed without a token.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// HMAC-SHA-256 under a random key of its own, so that no other process, nor a later one, takes
// its links. Immutable; any thread.
class LinkSigner {
 public:
  // INTERNAL when the system gives no random numbers.
  static absl::StatusOr<LinkSigner> Create();

  // 64 hex digits.
  std::string Sign(absl::string_view text) const;
  // In a time that does not tell how much is right.
  bool Verify(absl::string_view text, absl::string_view signature) const;

 private:
  LinkSigner() = default;
  std::array<uint8_t, 32> key_ = {};
};

}  // namespace wdelta
