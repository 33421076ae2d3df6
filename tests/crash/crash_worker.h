// One client of a daemon that may die at any moment.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "grpcpp/channel.h"
#include "tests/crash/truth.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

// How a life of the daemon ends.
struct Life {
  // Set before the daemon is killed: errors are expected from then on.
  std::atomic<bool> is_over = false;
  // The daemon kills itself: any error may come from that.
  bool has_failpoint = false;
  // Calls of each worker, at most.
  int max_steps = 1'000'000;
  // A worker found the daemon gone.
  std::atomic<bool> is_unreachable = false;
};

// What a model serves: path to bytes. An error of the fetch.
absl::StatusOr<TestFiles> FetchAll(Client& client, const v1::Model& model);
// Fails the test unless the files are those of `model`, as far as it is served by now.
absl::Status CheckContent(Client& client, Truth& truth, const LiveModel& model);

// Owns its names, models, uploads and tags: no other worker changes them, so that what
// they must be follows from its own calls. One thread at a time.
class CrashWorker {
 public:
  // Does not own the truth.
  CrashWorker(int number, uint32_t seed, Truth* truth);

  // Makes random calls until the life is over, the daemon is gone or the steps are done.
  // Fails the test when an answer is wrong.
  void Run(std::shared_ptr<grpc::Channel> channel, Life& life);

 private:
  void Step();
  void Upload();
  void UploadPart();
  void Resume();
  void Cancel();
  void Delete();
  void SetTag();
  void DeleteTag();
  void Repack();
  void CollectGarbage();
  void FetchOne();

  OpenUpload NewUpload();
  void Finish(const OpenUpload& upload);
  void CancelUpload(OpenUpload upload);
  // False if the call failed. Fails the test unless that may be, as one of `allowed` or for
  // the daemon's death.
  bool Succeeded(const absl::Status& status, const char* call,
                 std::initializer_list<absl::StatusCode> allowed = {});
  uint32_t Random(size_t below) { return static_cast<uint32_t>(random_() % below); }

  const std::string prefix_;  // of names, request ids and tags
  Truth& truth_;
  std::mt19937 random_;
  int made_ = 0;
  const TempFolder folder_;
  // Of one life.
  Life* life_ = nullptr;
  std::unique_ptr<Client> client_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace wdelta::testing
