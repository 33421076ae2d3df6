// Every bound of tokens, signed links and certificates.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wdelta::auth_limits {

// The file of tokens.
inline constexpr size_t kMaxTokenFileBytes = 1024 * 1024;
inline constexpr size_t kMaxTokens = 1000;  // all are compared with that of a call
inline constexpr size_t kMaxTokenNameBytes = 64;
inline constexpr size_t kMaxPrefixesOfToken = 64;
inline constexpr int64_t kTokenFileCheckMs = 2'000;  // between two looks whether it has changed

inline constexpr unsigned kTlsFileCheckSeconds = 2;
inline constexpr size_t kMaxTlsFileBytes = 1024 * 1024;
// Is looked at when a file begins to be sent. Clients ask for the links of some hundred files at
// once and follow the last when all others are sent, which takes hours for a large model.
inline constexpr int64_t kSignedLinkSeconds = 24 * 3600;
inline constexpr size_t kMaxAuditedSubjectBytes = 512;

}  // namespace wdelta::auth_limits
