// One of the clients of a soak run.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"
#include "tests/crash/truth.h"
#include "tests/soak/soak_daemon.h"
#include "tests/soak/soak_tally.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

// What the clients share. Owns nothing; all must outlive them.
struct SoakShared {
  SoakDaemon* daemon = nullptr;
  Truth* truth = nullptr;
  SoakTally* tally = nullptr;
  std::atomic<bool> is_over = false;
};

// Makes random calls through the client library and repeats what is broken off or refused
// because the daemon is busy, until it has an answer. Owns its names, models, uploads and
// tags: no other client changes them, so that what they must be follows from its own calls.
// One thread at a time.
class SoakWorker {
 public:
  SoakWorker(int number, uint32_t seed, SoakShared* shared);

  // Until the run is over. Fails the test when an answer is wrong or an error is not announced.
  void Run();

 private:
  using Attempt = std::function<absl::Status()>;
  struct Outcome {
    absl::Status status;
    // An attempt before had no answer.
    bool after_break = false;
    bool ok() const { return status.ok(); }
  };

  void Step();
  void Change(uint32_t choice);
  void Read(uint32_t choice);
  // Counts and repeats. Fails the test when the error is not announced.
  Outcome Do(SoakCall call, const Attempt& attempt);

  // soak_worker.cc: what changes the store.
  void Upload(SoakCall call);
  void UploadPart();
  void Resume();
  void Cancel();
  void PushWithoutParent();
  void Delete();
  void SetTag();
  void DeleteTag();
  void RepackAndCancel(bool cancel);
  void CollectGarbage();
  OpenUpload NewUpload(SoakCall call);
  void Finish(SoakCall call, const OpenUpload& upload);
  void CancelUpload(OpenUpload upload);

  // soak_reads.cc: what does not.
  void Pull();
  void FetchTensorsOf();
  void FetchRange();
  void GetOverHttp(bool range);
  void BreakOffFetch();
  void ExpireFetch();
  void GetModel();
  void ListModels();
  void Traverse();
  void Diff();
  void Blame();
  void PlanGc();
  void ServerInfo();

  // Of any client, now and then lossy; without content when there is none.
  LiveModel AnyModel();
  // The same, lossless: its bytes are known.
  LiveModel AnyExactModel();
  // After NOT_FOUND: fails the test when the model must be there.
  void CheckGone(const absl::Status& status, const LiveModel& model) const;
  uint32_t Random(size_t below) { return static_cast<uint32_t>(random_() % below); }

  const std::string prefix_;  // of names, request ids and tags
  SoakShared& shared_;
  Truth& truth_;
  std::mt19937 random_;
  const std::unique_ptr<Client> client_;
  int made_ = 0;
  const TempFolder folder_;
};

}  // namespace wdelta::testing
