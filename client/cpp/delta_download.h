// Receives the `.wdelta` files that lead from a model that the caller holds to another, into a
// folder of its own, and goes on with what an earlier download left there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/part_file.h"
#include "client/cpp/pull.h"
#include "client/cpp/stall_report.h"

namespace wdelta {

// One `.wdelta`. Models are named by their ids.
struct DeltaFile {
  std::string delta_id;
  std::string model_id;   // that it leads to
  std::string parent_id;  // of what it is applied to; empty: of nothing
  std::string file_name;  // where it is once it is whole
  // What a download that broke off had of it; unset: it is whole.
  std::optional<uint64_t> part_bytes;
};

// Removes what downloads left in the folder, unless one is at work there or what it fetched is
// still in use. A failure harms nobody.
void RemoveDeltas(const std::string& folder);

// The folder holds, for each delta, `N.wdelta` once it is whole, a part of it before that, and
// `N.id`, which tells what it is; and a lock, held from the first Run until the end of this: a
// second download to the same folder, of this process or another, is ABORTED (`PART_IN_USE`).
// One thread at a time.
class DeltaDownload {
 public:
  // Borrows all but `folder`. `interrupt` breaks it off, with CANCELLED.
  DeltaDownload(Client& client, std::string model_id, std::vector<std::string> held_ids,
                std::string folder, const PullOptions& options, Interrupt& interrupt)
      : client_(client),
        model_id_(std::move(model_id)),
        held_ids_(std::move(held_ids)),
        folder_(std::move(folder)),
        options_(options),
        stalls_(options.on_stall),
        stall_(stalls_),
        interrupt_(interrupt) {}
  ~DeltaDownload();
  DeltaDownload(const DeltaDownload&) = delete;
  DeltaDownload& operator=(const DeltaDownload&) = delete;

  // `on_parent` is given the held model that the first delta is applied to (empty: none), as
  // soon as that is known and whenever it changes. Survives broken streams as PullOptions allow.
  // Errors: the server's; FAILED_PRECONDITION (`NO_DELTA`, it does not serve deltas to held
  // models); DATA_LOSS as in file_receiver.h; the disk's; as PartFile. What has come stays, but
  // where it is not what it should be; then it begins anew, once. May be called again.
  absl::Status Run(const std::function<void(const std::string&)>& on_parent);

  // After Run: in the order in which they are applied.
  const std::vector<DeltaFile>& deltas() const { return deltas_; }
  // Also after an error.
  uint64_t received_bytes() const { return received_bytes_; }
  // After Run: whether some was there before, or came over several streams. That of a folded
  // delta is verified only if the server tells its SHA-256.
  bool went_on() const { return went_on_; }
  // Forgets all that was received, after Run: another Run begins anew, and the end of this removes
  // the folder. Nothing is done in a folder that another uses.
  absl::Status Clear();

 private:
  absl::Status Lock();
  absl::Status Load();
  absl::Status Receive();
  absl::Status ReceiveStream(grpc::ClientReader<v1::FetchFileResponse>& reader,
                             std::optional<PartFile>& part);
  absl::Status ReceiveDelta(grpc::ClientReader<v1::FetchFileResponse>& reader,
                            const v1::FileHeader& header, PartFile& part);
  absl::Status Begin(const v1::FileHeader& header, std::optional<PartFile>& part);
  bool FollowsOn(const DeltaFile& delta) const;
  bool IsComplete() const;
  std::string NameOf(size_t index, const char* ending) const;
  static absl::StatusOr<PartFile> OpenPart(const DeltaFile& delta, uint64_t max_bytes);
  void Report(const v1::FileHeader& header);

  Client& client_;
  const std::string model_id_;
  const std::vector<std::string> held_ids_;
  const std::string folder_;
  const PullOptions& options_;
  StallReport stalls_;
  StallReport::Transfer stall_;
  Interrupt& interrupt_;
  std::function<void(const std::string&)> on_parent_;
  std::vector<DeltaFile> deltas_;  // only the last may be a part
  uint64_t received_bytes_ = 0;
  uint64_t done_bytes_ = 0;  // of all deltas, received now or before
  bool went_on_ = false;
  std::optional<PartFile> lock_;  // of the folder; never committed
};

}  // namespace wdelta
