// Early return on a failed absl::Status or absl::StatusOr.
//
//   WDELTA_RETURN_IF_ERROR(DoIt());
//   WDELTA_ASSIGN_OR_RETURN(Digest digest, HashFile(path));
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define WDELTA_RETURN_IF_ERROR(expr)                                                    \
  do {                                                                                  \
    if (absl::Status wdelta_status = (expr); !wdelta_status.ok()) return wdelta_status; \
  } while (false)

#define WDELTA_MACRO_CONCAT_INNER(a, b) a##b
#define WDELTA_MACRO_CONCAT(a, b) WDELTA_MACRO_CONCAT_INNER(a, b)

#define WDELTA_ASSIGN_OR_RETURN(lhs, expr) \
  WDELTA_ASSIGN_OR_RETURN_IMPL(WDELTA_MACRO_CONCAT(wdelta_status_or_, __LINE__), lhs, expr)

#define WDELTA_ASSIGN_OR_RETURN_IMPL(holder, lhs, expr) \
  auto holder = (expr);                                 \
  if (!holder.ok()) return std::move(holder).status();  \
  lhs = *std::move(holder)
