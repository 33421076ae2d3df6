// A client of a simulated store: what it does, and what it may expect.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/engine/model_store.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/oracle.h"

namespace wdelta::testing {

// What clients of a simulation do besides uploading, fetching, tagging and deleting.
struct ClientOptions {
  absl::Duration upload_ttl = absl::InfiniteDuration();
  bool merges = false;
  bool loses = false;          // asks for loss
  bool has_retention = false;  // names of some models begin with kExpiringPrefix
  bool cancels_jobs = false;
  bool repeats_content = false;  // most uploads are of one of few contents
  size_t max_models = 5;
};

// Its models, uploads and tags are its own, so that it knows what became of them; its tags may
// point at models of others. An actor of the machine's scheduler; survives the daemon. Owns
// nothing.
class SimulatedClient {
 public:
  using Fail = std::function<void(const std::string&)>;
  SimulatedClient(int number, Machine* machine, Oracle* oracle, ClientOptions options, Fail fail);

  // One thing or another. After the daemon's death its outcome is not known.
  void Step(ModelStore& store);

 private:
  // An answer is expected from here on.
  void Begin(absl::string_view what);
  // False for an error, which must be one of `allowed` unless the daemon met a fault or died.
  bool Succeeded(const absl::Status& status, std::initializer_list<absl::StatusCode> allowed = {});
  bool MayFail() const;

  // client_uploads.cc: uploads, from their beginning to their end.
  void Upload();
  void UploadPart();
  void Resume();
  void Cancel();
  OpenUpload NewUpload();
  void Finish(OpenUpload upload);
  // Until some of it is durable. False: it is over, or nothing more is known.
  bool Write(OpenUpload& upload, bool all);
  bool WriteEntry(OpenUpload& upload, UploadWriter& writer, const std::string& path,
                  uint64_t durable_bytes, bool all);
  bool Open(OpenUpload& upload, UploadView& view);
  bool HasExpired(const OpenUpload& upload, const absl::Status& status);
  void CancelUpload(OpenUpload upload);

  // client.cc: the rest.
  void Delete();
  void SetTag();
  void DeleteTag();
  void SetLabel();
  void Repack();
  void CollectGarbage();
  void Scrub();
  void Merge();
  void Fetch();
  void CancelJob();

  // Of any client, rather one that is just being deleted.
  std::optional<LiveModel> ModelToTag();
  // Whether a model may be gone that was there when the call began.
  bool MayBeGone(const std::string& id) const;
  ContentPtr NewContent(const Content* origin);
  std::vector<LiveModel> MyModels(bool also_maybe_deleted = false) const;
  std::vector<OpenUpload> MyUploads() const;
  std::string NewName(absl::string_view kind);
  bool IsMine(absl::string_view name) const;
  uint64_t Below(uint64_t bound) { return machine_.random.Below(bound); }

  static constexpr size_t kMaxUploads = 2;

  const std::string suffix_;  // of the names of what it makes
  Machine& machine_;
  Oracle& oracle_;
  const ClientOptions options_;
  const Fail fail_;
  ModelStore* store_ = nullptr;
  int made_ = 0;
  std::string what_;
  uint64_t faults_before_ = 0;
};

}  // namespace wdelta::testing
