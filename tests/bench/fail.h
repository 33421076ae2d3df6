// How a benchmark ends that cannot go on.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace wdelta::bench {

[[noreturn]] inline void Die(const std::string& message) {
  std::fprintf(stderr, "bench: %s\n", message.c_str());
  std::exit(1);
}

inline void DieUnlessOk(const absl::Status& status) {
  if (!status.ok()) Die(status.ToString());
}

template <class T>
T ValueOrDie(absl::StatusOr<T> value) {
  DieUnlessOk(value.status());
  return *std::move(value);
}

}  // namespace wdelta::bench
