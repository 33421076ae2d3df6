// FetchTensors: slices, several models, resuming at every piece, and what is refused.
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/tensor/tensor_slice.h"
#include "tests/server/test_server.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sent {
  v1::TensorHeader header;
  std::vector<uint64_t> piece_ends;  // within the tensor or slice
  std::string data;
  v1::Trailer trailer;
};

struct Stream {
  grpc::Status status;
  std::vector<Sent> tensors;
};

// Checks what holds of every stream: places, lengths and checksums.
Stream Fetch(TestServer& server, const v1::FetchTensorsRequest& request) {
  Stream stream;
  grpc::ClientContext context;
  const auto reader = server.fetch->FetchTensors(&context, request);
  v1::FetchTensorsResponse message;
  while (reader->Read(&message)) {
    if (message.has_header()) {
      stream.tensors.push_back({message.header(), {}, "", {}});
      continue;
    }
    Sent& sent = stream.tensors.back();
    if (message.has_piece()) {
      const v1::Piece& piece = message.piece();
      EXPECT_EQ(piece.offset(), sent.header.offset() + sent.data.size());
      EXPECT_EQ(piece.crc32c(), Crc32c(piece.data()));
      EXPECT_LE(piece.data().size(), limits::kFetchPieceBytes);
      sent.data += piece.data();
      sent.piece_ends.push_back(sent.header.offset() + sent.data.size());
      continue;
    }
    sent.trailer = message.trailer();
    EXPECT_EQ(sent.trailer.sent_bytes(), sent.data.size());
    EXPECT_EQ(sent.header.length(), sent.data.size());
    const bool is_whole = !sent.header.has_slice() && sent.header.offset() == 0;
    EXPECT_EQ(sent.trailer.sha256(), is_whole ? Digest::Of(sent.data).ToHex() : "");
  }
  stream.status = reader->Finish();
  return stream;
}

std::string SliceByByte(const TestTensor& tensor, const AxisSlice& part) {
  const TensorSlice slice = *TensorSlice::Make({tensor.name, tensor.dtype, tensor.shape}, part);
  std::string bytes;
  for (uint64_t at = 0; at < slice.size_bytes(); ++at) bytes += tensor.data[slice.PlaceOf(at)];
  return bytes;
}

v1::TensorSlice Range(const std::string& pattern, uint32_t axis, uint64_t start, uint64_t stop) {
  v1::TensorSlice slice;
  slice.set_name_pattern(pattern);
  slice.set_axis(axis);
  slice.mutable_range()->set_start(start);
  slice.mutable_range()->set_stop(stop);
  return slice;
}

v1::TensorSlice Shard(const std::string& pattern, uint32_t axis, uint32_t index, uint32_t count) {
  v1::TensorSlice slice;
  slice.set_name_pattern(pattern);
  slice.set_axis(axis);
  slice.mutable_shard()->set_index(index);
  slice.mutable_shard()->set_count(count);
  return slice;
}

class FetchTensorsTest : public ::testing::Test {
 protected:
  FetchTensorsTest() {
    server_.Push("base", FilesOf(base_));
    server_.Push("tuned", FilesOf(tuned_), {"base"});
  }

  static TestFiles FilesOf(const std::vector<TestTensor>& tensors) {
    return {{"model.safetensors", BuildSafetensors(tensors)}};
  }
  static std::vector<TestTensor> Tuned(std::vector<TestTensor> tensors) {
    for (TestTensor& tensor : tensors) tensor = FineTuned(tensor, 7);
    return tensors;
  }

  v1::FetchTensorsRequest Ask(const std::vector<v1::TensorSlice>& slices,
                              const std::vector<std::string>& patterns = {}) const {
    v1::FetchTensorsRequest request;
    request.set_model("tuned");
    for (const std::string& pattern : patterns) request.add_name_patterns(pattern);
    for (const v1::TensorSlice& slice : slices) *request.add_slices() = slice;
    return request;
  }

  std::string Refused(const v1::FetchTensorsRequest& request, const std::string& word = "") {
    const Stream stream = Fetch(server_, request);
    EXPECT_TRUE(stream.tensors.empty()) << "an error comes before anything is sent";
    EXPECT_THAT(stream.status.error_message(), HasSubstr(word));
    return CodeAndReason(stream.status);
  }

  TestServer server_;
  const std::vector<TestTensor> base_ = {
      RandomWeights("a.down.weight", {96, 9000}, 1), RandomWeights("a.norm", {96}, 2),
      RandomWeights("a.up.weight", {1500, 512}, 3),  RandomWeights("experts", {8, 6, 40}, 4),
      RandomWeights("nothing", {0, 12}, 5),          RandomWeights("scale", {}, 6)};
  const std::vector<TestTensor> tuned_ = Tuned(base_);
};

TEST_F(FetchTensorsTest, ShardsOfTensorParallelRanksMakeUpTheTensors) {
  for (const bool is_stored : {false, true}) {
    if (is_stored) server_.RunJobs();
    std::map<std::string, std::vector<std::string>> parts;
    for (uint32_t rank = 0; rank < 4; ++rank) {
      const Stream stream =
          Fetch(server_, Ask({Shard("*.down.weight", 1, rank, 4), Shard("*.weight", 0, rank, 4),
                              Shard("experts", 0, rank, 4)}));
      ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
      ASSERT_EQ(stream.tensors.size(), tuned_.size());
      for (const Sent& sent : stream.tensors) parts[sent.header.name()].push_back(sent.data);
      const v1::TensorHeader& down = stream.tensors[0].header;
      EXPECT_EQ(down.slice().axis(), 1u);
      EXPECT_EQ(down.slice().start(), rank * 2250u);
      EXPECT_EQ(down.slice().stop(), (rank + 1) * 2250u);
      EXPECT_THAT(down.shape(), ElementsAre(96u, 9000u)) << "that of the whole tensor";
      EXPECT_EQ(down.size_bytes(), tuned_[0].data.size());
      EXPECT_FALSE(stream.tensors[1].header.has_slice());
    }
    for (uint32_t rank = 0; rank < 4; ++rank) {
      EXPECT_TRUE(parts["a.down.weight"][rank] ==
                  SliceByByte(tuned_[0], {1, rank * 2250, (rank + 1) * 2250}));
      EXPECT_TRUE(parts["a.norm"][rank] == tuned_[1].data);
      EXPECT_TRUE(parts["a.up.weight"][rank] == tuned_[2].data.substr(rank * 384'000, 384'000));
      EXPECT_TRUE(parts["scale"][rank] == tuned_[5].data);
    }
  }
}

TEST_F(FetchTensorsTest, RangesOfAnyAxis) {
  const uint32_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937 random(seed);
  server_.RunJobs();
  for (int round = 0; round < 30; ++round) {
    const TestTensor& tensor = tuned_[std::vector<size_t>{0, 2, 3}[random() % 3]];
    AxisSlice part{static_cast<uint32_t>(random() % tensor.shape.size()), 0, 0};
    const uint64_t length = tensor.shape[part.axis];
    part.start = random() % length;
    part.stop = part.start + 1 + random() % (length - part.start);
    const uint64_t asked_stop = part.stop == length && random() % 2 == 0 ? 0 : part.stop;
    const Stream stream =
        Fetch(server_, Ask({Range("", part.axis, part.start, asked_stop)}, {tensor.name}));
    ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
    ASSERT_EQ(stream.tensors.size(), 1u);
    const bool is_whole = part.start == 0 && part.stop == length;
    EXPECT_EQ(stream.tensors[0].header.has_slice(), !is_whole);
    EXPECT_TRUE(stream.tensors[0].data == SliceByByte(tensor, part))
        << tensor.name << " axis " << part.axis << " [" << part.start << "," << part.stop << ")";
  }
}

TEST_F(FetchTensorsTest, ASliceWithoutPatternIsForTensorsThatHaveItsAxis) {
  const Stream stream = Fetch(server_, Ask({Range("", 2, 10, 20), Range("", 0, 0, 0)}));
  ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
  std::vector<std::string> sliced;
  for (const Sent& sent : stream.tensors) {
    if (sent.header.has_slice()) sliced.push_back(sent.header.name());
  }
  EXPECT_THAT(sliced, ElementsAre("experts"));
}

TEST_F(FetchTensorsTest, SeveralModelsInOneCall) {
  server_.RunJobs();
  v1::FetchTensorsRequest request = Ask({Shard("a.down*", 1, 0, 2)}, {"a.down.weight", "scale"});
  v1::TensorSelection& of_base = *request.add_further_selections();
  of_base.set_model("base");
  of_base.add_name_patterns("a.down.weight");
  v1::TensorSelection& again = *request.add_further_selections();
  again.set_model("tuned");
  again.add_name_patterns("a.up*");
  *again.add_slices() = Range("a.up*", 1, 500, 0);
  const Stream stream = Fetch(server_, request);
  ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
  ASSERT_EQ(stream.tensors.size(), 4u);
  EXPECT_TRUE(stream.tensors[0].data == SliceByByte(tuned_[0], {1, 0, 4500}));
  EXPECT_TRUE(stream.tensors[1].data == tuned_[5].data);
  EXPECT_TRUE(stream.tensors[2].data == base_[0].data) << "its slices are its own";
  EXPECT_TRUE(stream.tensors[3].data == SliceByByte(tuned_[2], {1, 500, 512}));
  EXPECT_NE(stream.tensors[0].header.model(), stream.tensors[2].header.model());
  EXPECT_EQ(stream.tensors[0].header.model(), stream.tensors[3].header.model());
  // The reference is good for a request.
  v1::FetchTensorsRequest by_id;
  by_id.set_model(stream.tensors[2].header.model());
  by_id.add_name_patterns("scale");
  EXPECT_TRUE(Fetch(server_, by_id).tensors.at(0).data == base_[5].data);
}

TEST_F(FetchTensorsTest, GoesOnAtEveryPiece) {
  v1::FetchTensorsRequest request =
      Ask({Shard("*.down.weight", 1, 1, 3), Range("experts", 1, 2, 5)});
  v1::TensorSelection& of_base = *request.add_further_selections();
  of_base.set_model("base");
  of_base.add_name_patterns("a.*");
  for (const bool is_stored : {false, true}) {
    if (is_stored) server_.RunJobs();
    const Stream whole = Fetch(server_, request);
    ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
    ASSERT_EQ(whole.tensors.size(), tuned_.size() + 3);
    for (size_t tensor = 0; tensor < whole.tensors.size(); ++tensor) {
      const Sent& sent = whole.tensors[tensor];
      std::vector<uint64_t> offsets = sent.piece_ends;
      offsets.push_back(0);
      if (sent.data.size() > 3) offsets.push_back(sent.data.size() / 3);
      for (const uint64_t offset : offsets) {
        SCOPED_TRACE(absl::StrCat(sent.header.name(), " at ", offset));
        request.set_first_tensor(tensor);
        request.set_first_tensor_offset(offset);
        const Stream rest = Fetch(server_, request);
        ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
        ASSERT_EQ(rest.tensors.size(), whole.tensors.size() - tensor);
        EXPECT_EQ(rest.tensors[0].header.offset(), offset);
        EXPECT_TRUE(rest.tensors[0].data == sent.data.substr(offset));
        for (size_t i = 1; i < rest.tensors.size(); ++i) {
          EXPECT_EQ(rest.tensors[i].header.name(), whole.tensors[tensor + i].header.name());
          EXPECT_TRUE(rest.tensors[i].data == whole.tensors[tensor + i].data);
        }
      }
    }
    request.set_first_tensor(whole.tensors.size());
    request.set_first_tensor_offset(0);
    const Stream nothing = Fetch(server_, request);
    EXPECT_TRUE(nothing.status.ok() && nothing.tensors.empty());
    request.set_first_tensor_offset(1);
    EXPECT_EQ(Refused(request), "OUT_OF_RANGE OFFSET_PAST_END");
    request.set_first_tensor(whole.tensors.size() + 1);
    EXPECT_EQ(Refused(request, "first_tensor: expected at most 9, found 10"),
              "OUT_OF_RANGE OFFSET_PAST_END");
    request.set_first_tensor(0);
    request.set_first_tensor_offset(whole.tensors[0].data.size() + 1);
    EXPECT_EQ(Refused(request, "first_tensor_offset: expected at most 576000, found 576001"),
              "OUT_OF_RANGE OFFSET_PAST_END");
    request.set_first_tensor_offset(0);
  }
}

TEST_F(FetchTensorsTest, RefusesBadSlices) {
  const std::string bad = "INVALID_ARGUMENT BAD_SLICE";
  v1::TensorSlice neither;
  neither.set_name_pattern("x");
  EXPECT_EQ(Refused(Ask({neither}), "slices[0]: expected a range or a shard, found neither"), bad);
  EXPECT_EQ(Refused(Ask({Range("x", 0, 0, 1), Range("x", 0, 2, 1)}), "slices[1]: range: expected"),
            bad);
  EXPECT_EQ(Refused(Ask({Shard("x", 0, 2, 2)}), "slices[0]: shard: expected an index below"), bad);
  EXPECT_EQ(Refused(Ask({Shard("x", 0, 0, 0)}), "shard"), bad);
  EXPECT_EQ(Refused(Ask({Range("x", 1u << 31, 0, 1)}), "axis: expected less than 64"), bad);
  EXPECT_EQ(Refused(Ask({Range(std::string(1025, '*'), 0, 0, 1)}), "at most 1024 bytes"), bad);
  EXPECT_EQ(Refused(Ask(std::vector<v1::TensorSlice>(1001, Range("x", 0, 0, 1))),
                    "slices: expected at most 1000, found 1001"),
            bad);
  EXPECT_EQ(Refused(Ask({Range("a.norm", 1, 0, 1)}), "tensor 'a.norm': expected an axis below 1"),
            bad);
  EXPECT_EQ(Refused(Ask({Range("scale", 0, 0, 1)}), "tensor 'scale': expected an axis below 0"),
            bad);
  EXPECT_EQ(Refused(Ask({Range("a.norm", 0, 0, 97)}), "tensor 'a.norm': axis 0 has 96 positions"),
            "OUT_OF_RANGE SLICE_PAST_END");
  EXPECT_EQ(Refused(Ask({Range("a.norm", 0, ~uint64_t{0}, 0)})), "OUT_OF_RANGE SLICE_PAST_END");
  EXPECT_EQ(Refused(Ask({Shard("", 0, 0, 7)}), "expected a multiple of 7"),
            "INVALID_ARGUMENT UNEVEN_SHARD");
}

TEST_F(FetchTensorsTest, RefusesBadSelections) {
  v1::FetchTensorsRequest request = Ask({});
  v1::TensorSelection& further = *request.add_further_selections();
  EXPECT_EQ(Refused(request), "INVALID_ARGUMENT BAD_NAME");
  further.set_model("missing");
  EXPECT_EQ(Refused(request), "NOT_FOUND MODEL_NOT_FOUND");
  further.set_model("base");
  further.add_name_patterns("none");
  EXPECT_EQ(Refused(request, "'base' has no tensor"), "NOT_FOUND NO_TENSOR_MATCHES");
  further.set_name_patterns(0, std::string());
  EXPECT_EQ(Refused(request, "further_selections[0].name_patterns: expected a pattern"),
            "INVALID_ARGUMENT BAD_PATTERN");
  further.set_name_patterns(0, std::string(1, '*'));
  *further.add_slices() = Shard("", 0, 1, 1);
  EXPECT_EQ(Refused(request, "further_selections[0].slices[0]: shard"),
            "INVALID_ARGUMENT BAD_SLICE");
  further.clear_slices();
  const std::string any("*");
  for (int i = 0; i < 600; ++i) {
    request.add_name_patterns(any);
    further.add_name_patterns(any);
  }
  EXPECT_EQ(Refused(request, "name_patterns: expected at most 1000, found 1201"),
            "INVALID_ARGUMENT BAD_PATTERN");
  request = Ask({});
  for (int i = 0; i < limits::kMaxTensorSelections; ++i) {
    request.add_further_selections()->set_model("base");
  }
  EXPECT_EQ(Refused(request, "further_selections: expected at most 31, found 32"),
            "INVALID_ARGUMENT TOO_MANY_SELECTIONS");
}

TEST_F(FetchTensorsTest, ABareNameIsTheNewestVersionThatCanBeFetched) {
  v1::StartUploadRequest start;
  start.set_name("tuned");
  start.set_new_version(true);
  start.add_parents()->set_model("base");
  start.mutable_fidelity()->mutable_near_lossless()->set_relative_error(0.1);
  const TestFiles files = FilesOf({RandomWeights("other", {64}, 9)});
  const std::string upload = server_.Open(start, files);
  ASSERT_TRUE(server_.Write(TestServer::PiecesOf(upload, files)).ok());
  v1::FinishUploadResponse finished;
  ASSERT_TRUE(server_.Finish(upload, &finished).ok());
  const auto get = [&](const std::string& model, bool can_be_fetched, v1::Model* found) {
    v1::GetModelRequest request;
    request.set_model(model);
    request.set_can_be_fetched(can_be_fetched);
    grpc::ClientContext context;
    return CodeAndReason(server_.models->GetModel(&context, request, found));
  };
  v1::Model newest, fetched;
  EXPECT_EQ(get("tuned", false, &newest), "OK");
  EXPECT_EQ(newest.id(), finished.model().id());
  EXPECT_EQ(get("tuned", true, &fetched), "OK");
  EXPECT_NE(fetched.id(), newest.id());
  EXPECT_EQ(get(absl::StrCat("id:", newest.id()), true, &newest),
            "FAILED_PRECONDITION MODEL_NOT_READY");
  EXPECT_TRUE(server_.FetchFile("tuned", "model.safetensors").data ==
              FilesOf(tuned_).at("model.safetensors"));
  const Stream stream = Fetch(server_, Ask({}, {"scale"}));
  ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
  EXPECT_EQ(stream.tensors.at(0).header.model(), absl::StrCat("id:", fetched.id()));
  v1::ListTensorsRequest list;
  list.set_model("tuned");
  v1::ListTensorsResponse listed;
  grpc::ClientContext context;
  EXPECT_TRUE(server_.models->ListTensors(&context, list, &listed).ok());
  EXPECT_EQ(listed.tensors_size(), static_cast<int>(tuned_.size()));
  v1::FetchTensorsRequest by_id;
  by_id.set_model(absl::StrCat("id:", finished.model().id()));
  EXPECT_EQ(Refused(by_id), "FAILED_PRECONDITION MODEL_NOT_READY");
}

}  // namespace
}  // namespace wdelta::testing
