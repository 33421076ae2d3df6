// Every bound of the HTTP server. Those that an operator may move are options of the
// daemon whose defaults stand here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wdelta::http_limits {

// Connections. A thread serves one from when a request has begun to come until it is
// answered; its time a slow peer can only take up to these.
inline constexpr int kDefaultMaxConnections = 64;
inline constexpr int kOperationsConnections = 4;       // of the operations port, likewise
inline constexpr size_t kMaxWaitingConnections = 512;  // without a thread: idle, or in the queue
inline constexpr int kListenBacklog = 512;
inline constexpr int kMaxRequestsPerConnection = 1000;
inline constexpr int kIdleTimeoutMs = 5'000;   // between requests
inline constexpr int kHeadTimeoutMs = 10'000;  // from the first byte of a head to its last
inline constexpr int kPaceWindowMs = 30'000;   // of waiting for a peer, within a body
inline constexpr uint64_t kMinBytesPerWindow = 512 * 1024;  // that it must take or send
inline constexpr int kLingerMs = 2'000;                     // for what a refused peer still sends
inline constexpr size_t kMaxLingerBytes = 4 * 1024 * 1024;

// Requests.
inline constexpr size_t kMaxHeadBytes = 32 * 1024;  // request line and headers
inline constexpr int kMaxHeadLines = 128;
inline constexpr size_t kMaxTargetBytes = 4096;
inline constexpr size_t kReadBufferBytes = 256 * 1024;
inline constexpr size_t kMaxSmallBodyBytes = 1024 * 1024;  // that is held in memory
inline constexpr size_t kMaxJsonValues = 100'000;          // of a body, each up to 50 bytes in RAM

// Uploads.
inline constexpr size_t kMaxCommitLineBytes = 1024 * 1024;
inline constexpr size_t kMaxCommitPathBytes = 4 * 1024 * 1024;  // of all paths of a commit
inline constexpr int kMaxWaitingCommits = 16;                   // for others to the same repository
inline constexpr uint64_t kMaxInlineFileBytes = 256 * 1024;     // in a commit, as clients are told
inline constexpr size_t kMaxObjects = 10'000;                   // sent and not committed
inline constexpr int64_t kObjectLifetimeSeconds = 24 * 3600;
inline constexpr int64_t kObjectSweepSeconds = 60;  // at least, between two looks for old ones
inline constexpr size_t kMaxEmptyRepos = 1000;      // made and without a commit
inline constexpr uint64_t kMaxCardBytes = 1024 * 1024;
inline constexpr size_t kMaxSummaryBytes = 1024;
// Of new side files in a commit that is stored while its client waits; of more, all is staged.
inline constexpr uint64_t kMaxRevisedBytes = 64 * 1024 * 1024;

// Answers.
inline constexpr size_t kMaxTreePage = 1000;
inline constexpr size_t kMaxPathsInfo = 1000;  // different paths in one question
inline constexpr size_t kMaxListedTags = 1000;
inline constexpr size_t kMaxListedCommits = 100;
inline constexpr size_t kMaxErrorMessageChars = 1024;
inline constexpr int kRetryAfterSeconds = 1;
// Until other fetches end; clients of the Hub give up a request after ten seconds.
inline constexpr int kMaxFetchWaitMs = 5'000;

}  // namespace wdelta::http_limits
