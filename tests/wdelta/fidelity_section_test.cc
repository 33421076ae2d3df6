// The optional section that tells what coding with loss did.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "storage/base/error.h"
#include "storage/wdelta/dump.h"
#include "storage/wdelta/metadata.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

class FidelitySectionTest : public testing::Test {
 protected:
  FidelitySectionTest() {
    const SampleModel parent = MakeSampleParent();
    intact_ = (*OpenBytes(WriteWdelta(MakeSampleChild(), &parent)))->file();
    intact_.fidelity.emplace();
    intact_.fidelity->uploaded_digest = Digest::Of("uploaded");
    intact_.fidelity->streams = {{0, Strategy::kLossless, 0, 4, 0},
                                 {2, Strategy::kSparse, 1, 100, 0.5}};
  }

  // Parsing fails, with `message`, once `lie` has changed what is written.
  void ExpectRefused(const std::function<void(WdeltaFidelity&)>& lie, const std::string& reason,
                     const std::string& message) const {
    WdeltaFile file = intact_;
    lie(*file.fidelity);
    const absl::Status status = ParseMetadata(SerializeMetadata(file)).status();
    EXPECT_EQ(ErrorReason(status), reason) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  WdeltaFile intact_;
};

TEST_F(FidelitySectionTest, RoundTrip) {
  const absl::StatusOr<WdeltaFile> file = ParseMetadata(SerializeMetadata(intact_));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->fidelity.has_value());
  EXPECT_EQ(file->fidelity->uploaded_digest, Digest::Of("uploaded"));
  ASSERT_EQ(file->fidelity->streams.size(), 2u);
  const WdeltaStreamFidelity& sparse = file->fidelity->streams[1];
  EXPECT_EQ(sparse.stream, 2u);
  EXPECT_EQ(sparse.strategy, Strategy::kSparse);
  EXPECT_EQ(sparse.RelativeError(), 0.1);
  EXPECT_EQ(sparse.max_absolute_error, 0.5);
}

TEST_F(FidelitySectionTest, InspectShowsStrategyAndError) {
  const SampleModel child = MakeSampleChild();
  std::string bytes;
  WdeltaWriter writer(
      [&](absl::string_view more) {
        bytes.append(more.data(), more.size());
        return absl::OkStatus();
      },
      kSampleChunkBytes);
  ASSERT_TRUE(writer.Begin().ok());
  ASSERT_TRUE(WriteStreams(writer, child, nullptr).ok());
  ASSERT_TRUE(writer.Finish(child.files, std::nullopt, intact_.fidelity).ok());
  const auto reader = OpenBytes(bytes);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT(*DumpText(**reader), HasSubstr("sparse:0.1"));
  EXPECT_THAT(*DumpText(**reader), HasSubstr(Digest::Of("uploaded").ToHex()));
  EXPECT_THAT(*DumpJson(**reader), HasSubstr("\"relative_error\": 0.1"));
}

TEST_F(FidelitySectionTest, LiesAreRefused) {
  const auto stream = [](auto change) {
    return [change](WdeltaFidelity& fidelity) { change(fidelity.streams[1]); };
  };
  ExpectRefused(stream([](auto& s) { s.stream = 0; }), "BAD_WDELTA", "expected 1 or more");
  ExpectRefused(stream([](auto& s) { s.stream = 1'000'000; }), "BAD_WDELTA", "below");
  ExpectRefused(stream([](auto& s) { s.squared_error = -1; }), "BAD_WDELTA", "squared_error");
  ExpectRefused(stream([](auto& s) { s.squared_delta = std::nan(""); }), "BAD_WDELTA",
                "squared_delta");
  ExpectRefused(stream([](auto& s) { s.max_absolute_error = INFINITY; }), "BAD_WDELTA",
                "max_absolute_error");
  ExpectRefused(stream([](auto& s) { s.strategy = Strategy::kAuto; }), "UNSUPPORTED_WDELTA",
                "strategy");
  ExpectRefused([](auto& f) { f.streams.resize(100'000, f.streams[1]); }, "BAD_WDELTA",
                "fidelity count");
}

}  // namespace
}  // namespace wdelta
