// Uploads a checkpoint folder, or a `.wdelta` file, as a model.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/backoff.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/known_content.h"
#include "client/cpp/progress.h"

namespace wdelta {

struct PushOptions {
  std::string name;
  std::vector<v1::Parent> parents;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> metadata;
  bool new_version = false;
  // Of a folder: as of ListCheckpointFiles.
  std::vector<std::string> exclude;
  v1::FidelityPolicy fidelity;  // lossless unless it says otherwise
  // Empty: a random one. The same id again goes on with the upload it opened.
  std::string request_id;
  // Breaks the push off; may be null. Not owned.
  Interrupt* interrupt = nullptr;
  // Wait for the job that compresses or verifies the model.
  bool wait = false;
  // Whether to ask the server first for what it has of the checkpoint's tensors and
  // files.
  Reuse reuse = Reuse::kAuto;
  ProgressCallback progress;
  StallCallback on_stall;                      // while waiting too
  std::function<void(const v1::Job&)> on_job;  // while waiting

  // Broken connections in a row, without a byte made durable in between, that are
  // survived; the pause before the first retry (see backoff.h).
  int max_reconnects = kDefaultReconnects;
  absl::Duration initial_backoff = absl::Milliseconds(200);
  // How long to wait, all in all and without a byte made durable in between, for a server
  // that takes as many uploads as it can.
  absl::Duration max_busy_wait = absl::Minutes(10);
  // FinishUpload checks the whole checkpoint before it answers.
  absl::Duration finish_timeout = absl::Minutes(30);
};

struct PushResult {
  v1::Model model;
  std::string job;
  uint64_t total_bytes = 0;
  uint64_t sent_bytes = 0;    // over the network, repeated ones included
  uint64_t reused_bytes = 0;  // that the server took from what it had
};

// Reads every file once, in order of path, on a second thread that also computes
// the checksums and SHA-256 digests which the server compares. Memory does not
// depend on the size of the files. When the connection breaks it goes on from what
// the server has made durable. After any other error the upload is cancelled,
// unless a request id was given, with which a later push can go on. CANCELLED
// (`INTERRUPTED`) says what became of the upload.
// Errors: those of local_files.h and local_checkpoint.h, the server's, FAILED_PRECONDITION with the
// reasons of JobResult when waiting.
absl::StatusOr<PushResult> PushCheckpoint(Client& client, const std::string& folder,
                                          const PushOptions& options);

// Also INVALID_ARGUMENT (`BAD_WDELTA`) for a file that is no `.wdelta` at all.
absl::StatusOr<PushResult> PushDelta(Client& client, const std::string& file_name,
                                     const PushOptions& options);

}  // namespace wdelta
