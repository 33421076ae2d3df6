// SHA-256 digests: the identity of files, tensors, models and blobs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

inline constexpr size_t kDigestBytes = 32;

// A value; ordered and hashable by its bytes.
class Digest {
 public:
  Digest() : bytes_{} {}
  explicit Digest(const std::array<uint8_t, kDigestBytes>& bytes) : bytes_(bytes) {}

  // INVALID_ARGUMENT unless `raw` has 32 bytes.
  static absl::StatusOr<Digest> FromBytes(absl::string_view raw);
  // INVALID_ARGUMENT unless `hex` is 64 lower-case hex digits.
  static absl::StatusOr<Digest> FromHex(absl::string_view hex);
  static Digest Of(absl::string_view data);

  std::string ToBytes() const;
  std::string ToHex() const;

  friend auto operator<=>(const Digest&, const Digest&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const Digest& digest) {
    return H::combine(std::move(state), digest.bytes_);
  }

 private:
  std::array<uint8_t, kDigestBytes> bytes_;
};

// Incremental SHA-256 (FIPS 180-4). One thread at a time.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;

  void Update(absl::string_view data);
  Sha256Hasher Copy() const;
  // Digest of everything so far; the hasher may be updated further.
  Digest Current() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdelta
