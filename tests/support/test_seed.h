// Seeds of randomised tests: fixed, so that a failure comes again; WDELTA_TEST_SEED=N tries
// another.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace wdelta::testing {

// What the environment asks for.
inline std::optional<uint32_t> ChosenSeed() {
  const char* const text = std::getenv("WDELTA_TEST_SEED");
  uint32_t seed = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &seed)) return std::nullopt;
  return seed;
}

inline uint32_t TestSeed(uint32_t fixed = 1) { return ChosenSeed().value_or(fixed); }

// For SCOPED_TRACE: how to repeat what failed.
inline std::string SeedTrace(uint32_t seed) { return absl::StrCat("WDELTA_TEST_SEED=", seed); }

}  // namespace wdelta::testing
