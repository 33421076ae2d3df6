// What `wdelta` tells the shell. Documented in --help; never renumbered.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace wdelta {

enum class ExitCode : int {
  kOk = 0,
  kOtherError = 1,
  kUsage = 2,
  kNotFound = 3,
  kConflict = 4,
  kInvalidInput = 5,
  kUnreachable = 6,
  kDataLoss = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kLocalFile = 10,
  kNotPermitted = 11,
  kInterrupted = 130,
};

inline constexpr char kExitCodesHelp[] =
    "Exit codes:\n"
    "  0  ok\n"
    "  1  other error\n"
    "  2  wrong usage\n"
    "  3  not found\n"
    "  4  already exists, or a conflict with a concurrent change\n"
    "  5  invalid input\n"
    "  6  server unreachable\n"
    "  7  data loss, or verification failed\n"
    "  8  resource exhausted (disk, quota, too many requests)\n"
    "  9  the job failed, or something else must happen first\n"
    " 10  a file or folder of this machine cannot be read or written\n"
    " 11  the server asks for a token, or for one that may do this\n"
    "130  interrupted by a signal; the message says what became of the upload\n";

ExitCode ExitCodeOf(const absl::Status& status);

// `wdelta: <what>: <message> [REASON]`, one line whatever the message holds.
std::string ErrorLine(absl::string_view what, const absl::Status& status);

}  // namespace wdelta
