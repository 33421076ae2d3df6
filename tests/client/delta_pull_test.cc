// Pulling the difference to what is held, from the real services in this process, through a
// proxy that breaks streams where it is told to.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/client.h"
#include "client/cpp/pull.h"
#include "gmock/gmock.h"
#include "grpc/grpc.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

constexpr size_t kSentPieceBytes = 1'000;

// Forwards what a pull calls; pieces of deltas are cut into small ones.
class BreakingProxy final : public v1::Fetch::Service, public v1::Models::Service {
 public:
  explicit BreakingProxy(TestServer& server) : server_(server) {
    // Keeps gRPC from being shut down between two tests, for which it waits up to ten seconds
    // now and then.
    [[maybe_unused]] static const bool keeps_grpc = (grpc_init(), true);
    address_ = absl::StrCat("unix:", socket_folder_ / "socket");
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(static_cast<v1::Fetch::Service*>(this));
    builder.RegisterService(static_cast<v1::Models::Service*>(this));
    builder.SetMaxReceiveMessageSize(-1);
    proxy_ = builder.BuildAndStart();
    client_ = *Client::Create(address_);
  }
  ~BreakingProxy() override {
    proxy_->Shutdown();
    proxy_->Wait();
  }
  Client& client() { return *client_; }

  // FetchDelta breaks with UNAVAILABLE after so many pieces, so many times.
  int break_after_pieces = 0;
  int breaks = 0;
  // The first pieces of the delta have other bytes, but the right checksum.
  bool has_bad_content = false;
  std::vector<v1::FetchDeltaRequest> delta_requests;
  int files_fetched = 0;
  uint64_t delta_bytes = 0;  // that went over the wire

 private:
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* response) override {
    grpc::ClientContext context;
    return server_.models->GetModel(&context, *request, response);
  }

  grpc::Status FetchFile(grpc::ServerContext*, const v1::FetchFileRequest* request,
                         grpc::ServerWriter<v1::FetchFileResponse>* writer) override {
    {
      absl::MutexLock lock(&mutex_);
      ++files_fetched;
    }
    grpc::ClientContext context;
    const auto reader = server_.fetch->FetchFile(&context, *request);
    v1::FetchFileResponse message;
    while (reader->Read(&message)) writer->Write(message);
    return reader->Finish();
  }

  grpc::Status FetchDelta(grpc::ServerContext*, const v1::FetchDeltaRequest* request,
                          grpc::ServerWriter<v1::FetchFileResponse>* writer) override {
    delta_requests.push_back(*request);
    grpc::ClientContext context;
    const auto reader = server_.fetch->FetchDelta(&context, *request);
    v1::FetchFileResponse message;
    int pieces = 0;
    while (reader->Read(&message)) {
      if (!message.has_piece()) {
        writer->Write(message);
        continue;
      }
      const v1::Piece& piece = message.piece();
      for (size_t at = 0; at < piece.data().size(); at += kSentPieceBytes) {
        if (breaks > 0 && pieces++ == break_after_pieces) {
          --breaks;
          context.TryCancel();
          return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
        }
        v1::FetchFileResponse sent;
        sent.mutable_piece()->set_offset(piece.offset() + at);
        sent.mutable_piece()->set_data(piece.data().substr(at, kSentPieceBytes));
        if (has_bad_content && piece.offset() + at > 0) {
          (*sent.mutable_piece()->mutable_data())[0] ^= 1;
          has_bad_content = false;
        }
        sent.mutable_piece()->set_crc32c(Crc32c(sent.piece().data()));
        delta_bytes += sent.piece().data().size();
        writer->Write(sent);
      }
    }
    return reader->Finish();
  }

  TestServer& server_;
  const TempFolder socket_folder_;
  std::string address_;
  std::unique_ptr<grpc::Server> proxy_;
  std::unique_ptr<Client> client_;
  absl::Mutex mutex_;
};

class DeltaPullTest : public ::testing::Test {
 protected:
  DeltaPullTest() : base_{RandomWeights("a", {400, 512}, 1), RandomWeights("b", {256, 512}, 2)} {
    Push("base", base_, "{}");
    Hold("base", folder_ / "held");
  }

  void Push(const std::string& name, const std::vector<TestTensor>& tensors,
            const std::string& config, const std::string& parent = "") {
    const std::vector<std::string> parents =
        parent.empty() ? std::vector<std::string>() : std::vector<std::string>{parent};
    files_[name] = {{"config.json", config}, {"sub/model.safetensors", BuildSafetensors(tensors)}};
    server_.Push(name, files_[name], parents);
    server_.RunJobs();
  }
  void Hold(const std::string& name, const std::string& folder) {
    for (const auto& [path, data] : files_[name]) {
      const std::filesystem::path file = std::filesystem::path(folder) / path;
      std::filesystem::create_directories(file.parent_path());
      std::ofstream(file, std::ios::binary) << data;
    }
  }
  // Each moves a tensor of its own, so that both stored deltas are sent.
  void PushDisjointChain() {
    std::vector<TestTensor> tensors = base_;
    tensors[0] = FineTuned(tensors[0], 5);
    Push("d1", tensors, "{\"d\": 1}", "base");
    tensors[1] = FineTuned(tensors[1], 6);
    Push("d2", tensors, "{\"d\": 2}", "d1");
  }
  void PushTuned() {
    Push("tuned", {FineTuned(base_[0], 7), FineTuned(base_[1], 8)}, "{\"t\": 1}", "base");
  }

  PullOptions HoldingBase() {
    PullOptions options;
    options.held = {{"base", folder_ / "held"}};
    options.initial_backoff = absl::ZeroDuration();
    return options;
  }
  absl::StatusOr<PullResult> Pull(const std::string& model, const PullOptions& options) {
    return PullModel(proxy_.client(), model, folder_ / "out", options);
  }
  void ExpectPulled(const std::string& model) {
    for (const auto& [path, data] : files_[model]) {
      EXPECT_TRUE(folder_.Read("out/" + path) == data) << path;
    }
    size_t entries = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "out")) {
      entries += entry.is_regular_file() ? 1 : 0;
    }
    EXPECT_EQ(entries, files_[model].size()) << "something was left";
  }
  void ExpectHeldUntouched() {
    for (const auto& [path, data] : files_["base"]) {
      EXPECT_TRUE(folder_.Read("held/" + path) == data) << path;
    }
  }
  static uint64_t SizeOf(const TestFiles& files) {
    uint64_t size_bytes = 0;
    for (const auto& [path, data] : files) size_bytes += data.size();
    return size_bytes;
  }

  TestServer server_;
  BreakingProxy proxy_{server_};
  const TempFolder folder_;
  std::vector<TestTensor> base_;
  std::map<std::string, TestFiles> files_;
};

TEST_F(DeltaPullTest, OnlyTheDifferenceComesOverTheWire) {
  PushTuned();
  PullOptions options = HoldingBase();
  Progress last;
  options.progress = [&](const Progress& progress) { last = progress; };
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->held_refusal.ok()) << result->held_refusal;
  ExpectPulled("tuned");
  ExpectHeldUntouched();
  EXPECT_EQ(result->file_count, 2u);
  EXPECT_EQ(result->applied_count, 2u);
  EXPECT_EQ(result->received_bytes, proxy_.delta_bytes);
  EXPECT_EQ(result->received_bytes, result->model.stored_bytes());
  EXPECT_LT(result->received_bytes, SizeOf(files_["tuned"]) / 2);
  EXPECT_EQ(proxy_.files_fetched, 0);
  EXPECT_EQ(last.done_bytes, result->received_bytes);
  EXPECT_EQ(last.total_bytes, result->received_bytes);
  // Once more: all is there.
  const auto again = Pull("tuned", options);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->unchanged_count, 2u);
  EXPECT_EQ(proxy_.delta_requests.size(), 1u);
}

TEST_F(DeltaPullTest, AChainAndAFoldedDeltaAreApplied) {
  PushDisjointChain();
  ASSERT_TRUE(Pull("d2", HoldingBase()).ok());
  ExpectPulled("d2");
  std::filesystem::remove_all(folder_ / "out");
  // From the grandchild down to a sibling of its parent.
  PushTuned();
  Hold("d2", folder_ / "held2");
  PullOptions options;
  options.held = {{"d2", folder_ / "held2"}};
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u) << result->held_refusal;
  ExpectPulled("tuned");
  EXPECT_EQ(proxy_.files_fetched, 0);
}

TEST_F(DeltaPullTest, GoesOnAfterBrokenStreams) {
  PushTuned();
  proxy_.break_after_pieces = 4;
  proxy_.breaks = 5;
  PullOptions options = HoldingBase();
  options.max_reconnects = 1;
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectPulled("tuned");
  EXPECT_EQ(proxy_.delta_requests.size(), 6u);
  EXPECT_EQ(proxy_.delta_requests.back().offset(), 5 * 4 * kSentPieceBytes);
  EXPECT_EQ(result->received_bytes, result->model.stored_bytes()) << "bytes came twice";
}

TEST_F(DeltaPullTest, ALaterPullGoesOnInTheSecondDelta) {
  PushDisjointChain();
  PullOptions options = HoldingBase();
  options.max_reconnects = 0;
  v1::GetModelRequest first;
  first.set_model("d1");
  v1::Model d1;
  grpc::ClientContext context;
  ASSERT_TRUE(server_.models->GetModel(&context, first, &d1).ok());
  proxy_.break_after_pieces = static_cast<int>(d1.stored_bytes() / kSentPieceBytes) + 3;
  proxy_.breaks = 1;
  EXPECT_TRUE(absl::IsUnavailable(Pull("d2", options).status()));
  EXPECT_FALSE(folder_.Has("out/config.json"));
  const auto result = Pull("d2", options);
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectPulled("d2");
  const v1::FetchDeltaRequest& last = proxy_.delta_requests.back();
  ASSERT_EQ(last.held_models_size(), 1);
  EXPECT_EQ(last.held_models(0), "id:" + d1.id());
  EXPECT_EQ(last.offset(), 2 * kSentPieceBytes);
  EXPECT_EQ(proxy_.delta_bytes, d1.stored_bytes() + result->model.stored_bytes());
}

TEST_F(DeltaPullTest, AFoldedDeltaIsResumedToo) {
  PushTuned();
  Push("sibling", {FineTuned(base_[0], 17), FineTuned(base_[1], 18)}, "{}", "base");
  Hold("sibling", folder_ / "held2");
  PullOptions options;
  options.held = {{"sibling", folder_ / "held2"}};
  options.max_reconnects = 0;
  proxy_.break_after_pieces = 3;
  proxy_.breaks = 1;
  EXPECT_TRUE(absl::IsUnavailable(Pull("tuned", options).status()));
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectPulled("tuned");
  EXPECT_EQ(proxy_.delta_requests.back().offset(), 3 * kSentPieceBytes);
  EXPECT_TRUE(absl::StartsWith(proxy_.delta_requests.back().delta_id(), "folded:"));
}

TEST_F(DeltaPullTest, AChangedHeldFolderIsNamedAndAllIsFetched) {
  PushTuned();
  std::string changed = files_["base"]["sub/model.safetensors"];
  changed[changed.size() / 2] ^= 1;
  struct Row {
    std::string path, content, found;
  };
  for (const Row& row :
       {Row{"sub/model.safetensors", changed, "SHA-256"}, Row{"config.json", "{ }", "found 3"},
        Row{"config.json", "[]", "SHA-256"}}) {
    Hold("base", folder_ / "held");
    folder_.Write("held/" + row.path, row.content);
    PullOptions options = HoldingBase();
    options.requires_delta = true;
    const absl::Status refused = Pull("tuned", options).status();
    EXPECT_EQ(ErrorReason(refused), "HELD_CHANGED") << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr(folder_ / ("held/" + row.path)));
    EXPECT_THAT(std::string(refused.message()), HasSubstr(row.found));
    EXPECT_FALSE(folder_.Has("out/config.json"));
    options.requires_delta = false;
    const auto result = Pull("tuned", options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(ErrorReason(result->held_refusal), "HELD_CHANGED");
    EXPECT_EQ(result->applied_count, 0u);
    ExpectPulled("tuned");
    EXPECT_EQ(folder_.Read("held/" + row.path), row.content);
    std::filesystem::remove_all(folder_ / "out");
  }
  std::filesystem::remove(folder_ / "held/config.json");
  EXPECT_THAT(std::string(Pull("tuned", HoldingBase())->held_refusal.message()),
              HasSubstr("held/config.json: expected 2 bytes"));
}

TEST_F(DeltaPullTest, AWrongHeldModelIsOfNoUse) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.held[0].model = "tuned";
  const auto wrong = Pull("tuned", options);
  ASSERT_TRUE(wrong.ok()) << wrong.status();
  EXPECT_EQ(ErrorReason(wrong->held_refusal), "HELD_CHANGED") << wrong->held_refusal;
  ExpectPulled("tuned");
  std::filesystem::remove_all(folder_ / "out");
  options.held[0].model = "nosuch";
  EXPECT_EQ(ErrorReason(Pull("tuned", options)->held_refusal), "MODEL_NOT_FOUND");
  std::filesystem::remove_all(folder_ / "out");
  // Beside one that is right it does no harm.
  options.held.push_back({"base", folder_ / "held"});
  const auto right = Pull("tuned", options);
  ASSERT_TRUE(right.ok()) << right.status();
  EXPECT_EQ(right->applied_count, 2u);
  ExpectPulled("tuned");
}

TEST_F(DeltaPullTest, DamageOnTheWayIsNotApplied) {
  PushTuned();
  proxy_.has_bad_content = true;
  const auto result = Pull("tuned", HoldingBase());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ErrorReason(result->held_refusal), "SHA256_MISMATCH") << result->held_refusal;
  ExpectPulled("tuned");
}

TEST_F(DeltaPullTest, AFolderIsBroughtUpToDateInItsPlace) {
  PushTuned();
  PullOptions options = HoldingBase();
  const auto result = PullModel(proxy_.client(), "tuned", folder_ / "held", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u) << result->held_refusal;
  for (const auto& [path, data] : files_["tuned"]) {
    EXPECT_TRUE(folder_.Read("held/" + path) == data) << path;
  }
}

TEST_F(DeltaPullTest, AFewFilesAreFetchedThemselves) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.paths = {"config.json"};
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(folder_.Read("out/config.json"), "{\"t\": 1}");
  EXPECT_EQ(result->received_bytes, 8u);
  EXPECT_TRUE(proxy_.delta_requests.empty());
}

}  // namespace
}  // namespace wdelta::testing
