// Uploads that take from the store what it has.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;

constexpr char kPath[] = "model.safetensors";

class ContentReuseTest : public testing::EngineTest {
 protected:
  ContentReuseTest() {
    first_ = testing::RandomWeights("a", {256, 512}, 1);
    second_ = testing::RandomWeights("b", {256, 512}, 2);
    other_ = testing::RandomWeights("b", {256, 512}, 3);
    vocabulary_ = std::string(10'000, 'v');
    base_ = {{kPath, testing::BuildSafetensors({first_, second_})},
             {"vocabulary.txt", vocabulary_}};
    tuned_ = {{kPath, testing::BuildSafetensors({first_, other_})},
              {"vocabulary.txt", vocabulary_}};
  }

  std::string StartUpload(const testing::Files& files, const std::vector<std::string>& parents) {
    StartUploadParams params;
    params.name = "tuned";
    for (const std::string& parent : parents) params.parents.push_back({parent, {}, {}});
    const absl::StatusOr<UploadView> upload = store_->uploads().Start(params);
    EXPECT_TRUE(upload.ok()) << upload.status();
    std::vector<EntryParams> entries;
    for (const auto& [path, bytes] : files) entries.push_back({path, bytes.size(), ""});
    EXPECT_TRUE(store_->uploads().AddEntries(upload->record.id(), entries).ok());
    return upload->record.id();
  }
  std::vector<uint32_t> Find(const std::string& upload, const std::vector<std::string>& contents) {
    std::vector<Digest> digests;
    for (const std::string& content : contents) digests.push_back(Digest::Of(content));
    const auto found = store_->uploads().FindContent(upload, digests);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : std::vector<uint32_t>();
  }
  static uint64_t HeaderBytes(const testing::Files& files, const testing::TestTensor& last) {
    return files.at(kPath).size() - 2 * last.data.size();
  }

  testing::TestTensor first_, second_, other_;
  std::string vocabulary_;
  testing::Files base_, tuned_;
};

TEST_F(ContentReuseTest, SharedTensorsAndFilesOfAParentAreCopied) {
  ASSERT_TRUE(Upload("base", base_).ok());
  RunJobs();
  const std::string id = StartUpload(tuned_, {"base"});
  EXPECT_THAT(Find(id, {other_.data, first_.data, vocabulary_}), ElementsAre(1, 2));
  const std::string& file = tuned_[kPath];
  const uint64_t header_bytes = HeaderBytes(tuned_, other_);
  {
    const auto writer = *store_->uploads().OpenWriter(id);
    ASSERT_TRUE(writer->Write(kPath, 0, file.substr(0, header_bytes)).ok());
    ASSERT_TRUE(
        writer->Copy(kPath, header_bytes, Digest::Of(first_.data), first_.data.size()).ok());
    ASSERT_TRUE(writer->Write(kPath, header_bytes + first_.data.size(), other_.data).ok());
    ASSERT_TRUE(
        writer->Copy("vocabulary.txt", 0, Digest::Of(vocabulary_), vocabulary_.size()).ok());
    EXPECT_EQ(*writer->Sync(), file.size() + vocabulary_.size());
  }
  const auto finished = store_->uploads().Finish(
      id, {{kPath, Digest::Of(file).ToHex()}, {"vocabulary.txt", Digest::Of(vocabulary_).ToHex()}});
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(ReadBack("tuned"), tuned_);
  RunJobs();
  EXPECT_EQ(ReadBack("tuned"), tuned_);
}

TEST_F(ContentReuseTest, TensorsAndFilesOfAnyModelAreKnown) {
  ASSERT_TRUE(Upload("unrelated", base_).ok());
  RunJobs();
  const std::string id = StartUpload(tuned_, {});
  EXPECT_THAT(Find(id, {first_.data, other_.data, vocabulary_, second_.data}),
              ElementsAre(0, 2, 3));
}

TEST_F(ContentReuseTest, ContentThatIsGoneIsSentInstead) {
  ASSERT_TRUE(Upload("base", base_).ok());
  RunJobs();
  const std::string id = StartUpload(tuned_, {});
  ASSERT_THAT(Find(id, {first_.data}), ElementsAre(0));
  ASSERT_TRUE(store_->models().Delete("base").ok());
  RunJobs();
  const uint64_t header_bytes = HeaderBytes(tuned_, other_);
  const auto writer = *store_->uploads().OpenWriter(id);
  ASSERT_TRUE(writer->Write(kPath, 0, tuned_[kPath].substr(0, header_bytes)).ok());
  const absl::Status gone =
      writer->Copy(kPath, header_bytes, Digest::Of(first_.data), first_.data.size());
  EXPECT_TRUE(absl::IsNotFound(gone)) << gone;
  EXPECT_EQ(ErrorReason(gone), "CONTENT_NOT_FOUND");
  EXPECT_TRUE(writer->Write(kPath, header_bytes, tuned_[kPath].substr(header_bytes)).ok());
}

TEST_F(ContentReuseTest, DamagedContentIsSentInsteadFromTheDurableSizeOn) {
  ASSERT_TRUE(Upload("base", base_).ok());
  RunJobs();
  const store::v1::ModelRecord record = RecordOf("base");
  const std::string id = StartUpload(tuned_, {"base"});
  const uint64_t header_bytes = HeaderBytes(tuned_, other_);
  auto writer = *store_->uploads().OpenWriter(id);
  ASSERT_TRUE(writer->Write(kPath, 0, tuned_[kPath].substr(0, header_bytes)).ok());
  ASSERT_TRUE(writer->Sync().ok());
  // It can be opened and found; its first chunks cannot be read.
  const ContentSourcePtr held = *store_->reader().Open(record);
  for (const std::string& hex : PiecesOf(record)) {
    ASSERT_TRUE(blobs_.Delete(*Digest::FromHex(hex)).ok());
  }
  const absl::Status damaged =
      writer->Copy(kPath, header_bytes, Digest::Of(first_.data), first_.data.size());
  EXPECT_EQ(ErrorReason(damaged), "CONTENT_NOT_FOUND") << damaged;
  EXPECT_EQ(store_->uploads().Get(id)->durable_bytes[0], header_bytes);
  EXPECT_TRUE(writer->Write(kPath, header_bytes, tuned_[kPath].substr(header_bytes)).ok());
  ASSERT_TRUE(writer->Write("vocabulary.txt", 0, vocabulary_).ok());
  ASSERT_TRUE(writer->Sync().ok());
  writer.reset();
  EXPECT_TRUE(store_->uploads().Finish(id, {{kPath, Digest::Of(tuned_[kPath]).ToHex()}}).ok());
}

TEST_F(ContentReuseTest, ALargeCopyIsDoneInSteps) {
  const std::string notes(2 * limits::kCopyStepBytes + 5000, 'n');
  ASSERT_TRUE(Upload("base", {{"notes.txt", notes}}).ok());
  RunJobs();
  const std::string text = "begin" + notes;
  const std::string id = StartUpload({{"notes.txt", text}}, {"base"});
  auto writer = *store_->uploads().OpenWriter(id);
  ASSERT_TRUE(writer->Write("notes.txt", 0, "begin").ok());
  const auto step = [&](bool is_cancelled) {
    return writer->CopyStep([is_cancelled] { return is_cancelled; });
  };
  const Digest digest = Digest::Of(notes);
  for (int steps = 0; steps < 3; ++steps) {
    SCOPED_TRACE(steps);
    ASSERT_TRUE(writer->StartCopy("notes.txt", 5, digest, notes.size()).ok());
    for (int i = 0; i < steps; ++i) EXPECT_EQ(*step(false), false);
    EXPECT_TRUE(absl::IsCancelled(step(true).status()));
    // Nothing of it stays, and all that was there before.
    ASSERT_TRUE(writer->Sync().ok());
    EXPECT_EQ(store_->uploads().Get(id)->durable_bytes[0], 5u);
  }
  ASSERT_TRUE(writer->StartCopy("notes.txt", 5, digest, notes.size()).ok());
  EXPECT_EQ(*step(false), false);
  EXPECT_EQ(*step(false), false);
  EXPECT_EQ(*step(false), true);
  ASSERT_TRUE(writer->Sync().ok());
  writer.reset();
  ASSERT_TRUE(store_->uploads().Finish(id, {{"notes.txt", Digest::Of(text).ToHex()}}).ok());
  EXPECT_TRUE(ReadBack("tuned").at("notes.txt") == text);
}

TEST_F(ContentReuseTest, AWriterMayGoAmidstACopy) {
  const std::string notes(limits::kCopyStepBytes + 5000, 'n');
  ASSERT_TRUE(Upload("base", {{"notes.txt", notes}}).ok());
  RunJobs();
  const std::string id = StartUpload({{"notes.txt", notes}}, {"base"});
  {
    const auto writer = *store_->uploads().OpenWriter(id);
    ASSERT_TRUE(writer->StartCopy("notes.txt", 0, Digest::Of(notes), notes.size()).ok());
    EXPECT_EQ(*writer->CopyStep([] { return false; }), false);
  }
  EXPECT_EQ(store_->uploads().Get(id)->durable_bytes[0], 0u);
  const auto writer = *store_->uploads().OpenWriter(id);
  EXPECT_TRUE(writer->Write("notes.txt", 0, notes).ok());
}

TEST_F(ContentReuseTest, RefusesWhatDoesNotFit) {
  ASSERT_TRUE(Upload("base", base_).ok());
  RunJobs();
  const std::string id = StartUpload({{kPath, "0123456789"}}, {"base"});
  const auto writer = *store_->uploads().OpenWriter(id);
  const Digest digest = Digest::Of(first_.data);
  EXPECT_EQ(ErrorReason(writer->Copy(kPath, 1, digest, 5)), "WRONG_OFFSET");
  EXPECT_EQ(ErrorReason(writer->Copy(kPath, 0, digest, first_.data.size())), "PAST_END");
  EXPECT_EQ(ErrorReason(writer->Copy(kPath, 0, digest, 5)), "WRONG_SIZE");
  EXPECT_EQ(ErrorReason(writer->Copy("none", 0, digest, 5)), "ENTRY_NOT_FOUND");
  const std::vector<Digest> many(10'001, digest);
  EXPECT_EQ(ErrorReason(store_->uploads().FindContent(id, many).status()), "TOO_MANY_CONTENTS");
  EXPECT_EQ(ErrorReason(store_->uploads().FindContent("none", {digest}).status()),
            "UPLOAD_NOT_FOUND");
}

}  // namespace
}  // namespace wdelta
