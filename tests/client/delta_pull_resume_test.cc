// Pulls of differences that break off, and what later ones find.
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "client/cpp/part_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/client/delta_pull_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

class DeltaPullResumeTest : public DeltaPullTest {
 protected:
  // `tuned` beside a sibling that is held: the delta between them is folded.
  PullOptions HoldingSibling() {
    PushTuned();
    Push("sibling", {FineTuned(base_[0], 17), FineTuned(base_[1], 18)}, "{}", "base");
    Hold("sibling", folder_ / "held2");
    PullOptions options;
    options.held = {{"sibling", folder_ / "held2"}};
    options.initial_backoff = absl::ZeroDuration();
    return options;
  }
  void BreakAfter(int pieces) {
    proxy_.break_after_pieces = pieces;
    proxy_.breaks = 1;
  }
};

TEST_F(DeltaPullResumeTest, GoesOnAfterBrokenStreams) {
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

TEST_F(DeltaPullResumeTest, ALaterPullGoesOnInTheSecondDelta) {
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

TEST_F(DeltaPullResumeTest, AFoldedDeltaIsResumedToo) {
  PullOptions options = HoldingSibling();
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

TEST_F(DeltaPullResumeTest, DamageOnTheWayIsNotApplied) {
  PushTuned();
  proxy_.has_bad_content = true;
  const auto result = Pull("tuned", HoldingBase());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ErrorReason(result->held_refusal), "SHA256_MISMATCH") << result->held_refusal;
  ExpectPulled("tuned");
}

// What is wrong in a kept part shows at the end: by the SHA-256 of the trailer, or else in
// applying.
TEST_F(DeltaPullResumeTest, ADamagedPartOfAFoldedDeltaIsFetchedAnew) {
  PullOptions options = HoldingSibling();
  options.max_reconnects = 0;
  options.requires_delta = true;
  BreakAfter(30);
  EXPECT_TRUE(absl::IsUnavailable(Pull("tuned", options).status()));
  std::string part = folder_.Read(PartOfDelta());
  ASSERT_EQ(part.size(), 30 * kSentPieceBytes);
  part[part.size() - 10] ^= 1;
  folder_.Write(PartOfDelta(), part);
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u);
  ExpectPulled("tuned");
  ASSERT_EQ(proxy_.delta_requests.size(), 3u);
  EXPECT_EQ(proxy_.delta_requests[1].offset(), part.size());
  EXPECT_EQ(proxy_.delta_requests[2].offset(), 0u);
  EXPECT_EQ(proxy_.files_fetched, 0);
}

TEST_F(DeltaPullResumeTest, ADamagedDeltaThatWasWholeIsFetchedAnew) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.requires_delta = true;
  // Another writes one of the files: all of the delta stays.
  std::optional<PartFile> other = *PartFile::Create(folder_ / "out/config.json");
  EXPECT_EQ(ErrorReason(Pull("tuned", options).status()), "PART_IN_USE");
  other.reset();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "out")) {
    if (entry.path().filename() != "0.wdelta") continue;
    std::filesystem::resize_file(entry.path(), entry.file_size() / 2);
  }
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectPulled("tuned");
  EXPECT_EQ(proxy_.delta_requests.size(), 2u);
  EXPECT_EQ(proxy_.files_fetched, 0);
}

TEST_F(DeltaPullResumeTest, APartThatIsTooLongIsDropped) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.max_reconnects = 0;
  options.requires_delta = true;
  BreakAfter(2);
  EXPECT_TRUE(absl::IsUnavailable(Pull("tuned", options).status()));
  const std::string too_long(SizeOf(files_["tuned"]), 'x');
  folder_.Write(PartOfDelta(), too_long);
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->applied_count, 2u);
  ExpectPulled("tuned");
  ASSERT_EQ(proxy_.delta_requests.size(), 3u);
  EXPECT_EQ(proxy_.delta_requests[1].offset(), too_long.size());
  EXPECT_EQ(proxy_.delta_requests[2].offset(), 0u);
}

TEST_F(DeltaPullResumeTest, KeptDeltasServeForAFewFilesToo) {
  PushTuned();
  const PullOptions options = HoldingBase();
  std::optional<PartFile> other = *PartFile::Create(folder_ / "out/config.json");
  EXPECT_EQ(ErrorReason(Pull("tuned", options).status()), "PART_IN_USE");
  other.reset();
  // What is missing would be eight bytes.
  folder_.Write("out/sub/model.safetensors", files_["tuned"]["sub/model.safetensors"]);
  const auto result = Pull("tuned", options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->unchanged_count, 1u);
  EXPECT_EQ(result->applied_count, 1u);
  EXPECT_EQ(result->file_count, 2u);
  EXPECT_EQ(result->received_bytes, 0u);
  ExpectPulled("tuned");
  EXPECT_EQ(proxy_.delta_requests.size(), 1u);
  EXPECT_EQ(proxy_.files_fetched, 0);
}

TEST_F(DeltaPullResumeTest, NobodyTakesTheDeltasOfAnother) {
  PushTuned();
  const PullOptions options = HoldingBase();
  absl::Status second, without;
  proxy_.in_between = [&] {
    second = Pull("tuned", options).status();
    // When it is done it forgets deltas, but not those of another.
    without = Pull("tuned", {}).status();
    std::filesystem::remove(folder_ / "out/config.json");
  };
  const auto first = Pull("tuned", options);
  EXPECT_TRUE(absl::IsAborted(second)) << second;
  EXPECT_EQ(ErrorReason(second), "PART_IN_USE") << second;
  EXPECT_THAT(std::string(second.message()), HasSubstr("another pull of the same model"));
  EXPECT_TRUE(without.ok()) << without;
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->held_refusal.ok()) << first->held_refusal;
  EXPECT_EQ(first->applied_count, 2u);
  ExpectPulled("tuned");
}

TEST_F(DeltaPullResumeTest, NothingStaysOfAPullThatReceivedNothing) {
  PushTuned();
  PullOptions options = HoldingBase();
  options.max_reconnects = 0;
  BreakAfter(0);
  EXPECT_TRUE(absl::IsUnavailable(Pull("tuned", options).status()));
  // The whole is pulled without deltas: what was begun with them goes.
  ASSERT_TRUE(Pull("tuned", {}).ok());
  ExpectPulled("tuned");
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_ / "out")) {
    ++entries;
  }
  EXPECT_EQ(entries, 2u);
}

}  // namespace
}  // namespace wdelta::testing
