// A version 1 export decodes, over the parent, to what its strategy promises.
#include "client/cpp/export_v1.h"

#include <fnmatch.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/wdelta/v1/float_values.h"
#include "storage/wdelta/v1/v1_reader.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using testing::FineTuned;
using testing::RandomWeights;
using testing::TestTensor;

std::vector<float> ValuesOf(const TestTensor& tensor) {
  std::vector<float> values(tensor.data.size() / (BitsPerElement(tensor.dtype) / 8));
  EXPECT_TRUE(WidenToFloat32(tensor.dtype, tensor.data, absl::MakeSpan(values)).ok());
  return values;
}

// Serves tensors and nothing else. Names are patterns, as to the daemon; pieces do not
// end with an element.
class TensorServer final : public v1::Models::Service, public v1::Fetch::Service {
 public:
  struct Shard {
    std::string file;
    std::vector<TestTensor> tensors;
  };

  TensorServer() {
    grpc::ServerBuilder builder;
    builder.RegisterService(static_cast<v1::Models::Service*>(this));
    builder.RegisterService(static_cast<v1::Fetch::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~TensorServer() override { server_->Shutdown(); }

  std::shared_ptr<grpc::Channel> NewChannel() { return server_->InProcessChannel({}); }
  // Before the calls that ask for it.
  void Add(const std::string& name, std::vector<Shard> shards, const std::string& parent = "") {
    models_[name] = std::move(shards);
    parents_[name] = parent;
  }

  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* model) override {
    const std::string name = NameOf(request->model());
    model->set_id(name);
    model->set_name(name);
    if (const std::string& parent = parents_.at(name); !parent.empty()) {
      model->add_parents()->set_model("id:" + parent);
    }
    return grpc::Status::OK;
  }

  grpc::Status ListTensors(grpc::ServerContext*, const v1::ListTensorsRequest* request,
                           v1::ListTensorsResponse* response) override {
    for (const Shard& shard : models_.at(NameOf(request->model()))) {
      for (const TestTensor& tensor : shard.tensors) {
        v1::Tensor* added = response->add_tensors();
        added->set_name(tensor.name);
        added->set_dtype(std::string(DTypeName(tensor.dtype)));
        for (const uint64_t dimension : tensor.shape) added->add_shape(dimension);
        added->set_file(shard.file);
        added->set_size_bytes(tensor.data.size());
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status FetchTensors(grpc::ServerContext*, const v1::FetchTensorsRequest* request,
                            grpc::ServerWriter<v1::FetchTensorsResponse>* writer) override {
    for (const Shard& shard : models_.at(NameOf(request->model()))) {
      for (const TestTensor& tensor : shard.tensors) {
        if (fnmatch(request->name_patterns(0).c_str(), tensor.name.c_str(), 0) != 0) continue;
        Send(shard.file, tensor, *writer);
      }
    }
    return grpc::Status::OK;
  }

 private:
  static std::string NameOf(const std::string& reference) {
    return reference.substr(0, 3) == "id:" ? reference.substr(3) : reference;
  }

  static void Send(const std::string& file, const TestTensor& tensor,
                   grpc::ServerWriter<v1::FetchTensorsResponse>& writer) {
    constexpr size_t kPieceBytes = 4097;
    v1::FetchTensorsResponse response;
    response.mutable_header()->set_name(tensor.name);
    response.mutable_header()->set_file(file);
    response.mutable_header()->set_size_bytes(tensor.data.size());
    writer.Write(response);
    for (size_t offset = 0; offset < tensor.data.size(); offset += kPieceBytes) {
      v1::Piece* piece = response.mutable_piece();
      piece->set_offset(offset);
      piece->set_data(tensor.data.substr(offset, kPieceBytes));
      piece->set_crc32c(Crc32c(piece->data()));
      writer.Write(response);
    }
    response.mutable_trailer()->set_sent_bytes(tensor.data.size());
    response.mutable_trailer()->set_sha256(Digest::Of(tensor.data).ToHex());
    writer.Write(response);
  }

  std::map<std::string, std::vector<Shard>> models_;
  std::map<std::string, std::string> parents_;
  std::unique_ptr<grpc::Server> server_;
};

class ExportV1Test : public ::testing::Test {
 protected:
  ExportV1Test() : client_(server_.NewChannel()) {
    // The first name, as a pattern, matches both.
    parent_ = {RandomWeights("w*", {130, 257}, 1), RandomWeights("w1", {64}, 2)};
    for (const TestTensor& tensor : parent_) child_.push_back(FineTuned(tensor, 3));
    server_.Add("parent", {{"a.safetensors", {parent_[1]}}, {"b.safetensors", {parent_[0]}}});
    server_.Add("child", {{"model.safetensors", {child_[1], child_[0]}}}, "parent");
  }

  absl::StatusOr<ExportV1Result> Export(V1Strategy strategy, const std::string& model = "child",
                                        const std::string& parent = "") {
    ExportV1Options options;
    options.parent = parent;
    options.writer.strategy = strategy;
    return ExportV1(client_, model, file_, options);
  }

  absl::StatusOr<std::shared_ptr<const V1Reader>> OpenExport() {
    auto file = NewPosixFileSystem()->OpenForRead(file_);
    if (!file.ok()) return file.status();
    return V1Reader::Open(*std::move(file));
  }

  TensorServer server_;
  Client client_;
  const TempFolder folder_;
  const std::string file_ = folder_ / "out.wdelta";
  std::vector<TestTensor> parent_;
  std::vector<TestTensor> child_;
};

TEST_F(ExportV1Test, EachStrategyLosesWhatItSays) {
  for (const V1Strategy strategy :
       {V1Strategy::kInt4, V1Strategy::kSparse, V1Strategy::kQuantized}) {
    const auto result = Export(strategy);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->parent.name(), "parent");
    const auto reader = OpenExport();
    ASSERT_TRUE(reader.ok()) << reader.status();
    ASSERT_EQ((*reader)->file().tensors.size(), 2u);
    double error = 0;
    double norm = 0;
    for (uint32_t t = 0; t < 2; ++t) {
      EXPECT_EQ((*reader)->file().tensors[t].name, parent_[t].name);
      const std::vector<float> parent = ValuesOf(parent_[t]);
      const std::vector<float> child = ValuesOf(child_[t]);
      std::vector<float> found = parent;
      ASSERT_TRUE((*reader)->AddDelta(t, 0, absl::MakeSpan(found)).ok());
      for (size_t i = 0; i < parent.size(); ++i) {
        error += std::pow(static_cast<double>(child[i]) - found[i], 2);
        norm += std::pow(static_cast<double>(child[i]) - parent[i], 2);
      }
    }
    EXPECT_GT(error, 0);
    EXPECT_NEAR(result->written.relative_error, std::sqrt(error / norm), 1e-4)
        << V1StrategyName(strategy);
    EXPECT_LT(result->written.relative_error, 1);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1)
        << "scratch files were left behind";
  }
}

TEST_F(ExportV1Test, HashIsThatOfTheParentInHashOrder) {
  ASSERT_TRUE(Export(V1Strategy::kSparse).ok());
  const auto reader = OpenExport();
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->file().parent_hash,
            Digest::Of("w*" + parent_[0].data + "w1" + parent_[1].data));
}

TEST_F(ExportV1Test, RefusesModelsThatDoNotMatch) {
  EXPECT_EQ(ErrorReason(Export(V1Strategy::kInt4, "parent").status()), "NO_PARENT");
  server_.Add("less", {{"model.safetensors", {child_[0]}}}, "parent");
  EXPECT_THAT(std::string(Export(V1Strategy::kInt4, "less").status().message()),
              ::testing::HasSubstr("tensor 'w1': is in the parent only"));
  EXPECT_THAT(std::string(Export(V1Strategy::kInt4, "child", "less").status().message()),
              ::testing::HasSubstr("tensor 'w1': is not in the parent"));
  TestTensor turned = child_[0];
  turned.shape = {257, 130};
  server_.Add("turned", {{"model.safetensors", {turned, child_[1]}}}, "parent");
  EXPECT_THAT(std::string(Export(V1Strategy::kInt4, "turned").status().message()),
              ::testing::HasSubstr("tensor 'w*': expected the parent's shape [130,257], found"));
  TestTensor small = child_[0];
  small.dtype = DType::kF8E4M3;
  small.data.resize(small.data.size() / 2);
  server_.Add("small", {{"model.safetensors", {small, child_[1]}}}, "parent");
  const auto refused = Export(V1Strategy::kInt4, "small");
  EXPECT_EQ(ErrorReason(refused.status()), "V1_UNSUPPORTED");
  EXPECT_THAT(std::string(refused.status().message()), ::testing::HasSubstr("found F8_E4M3"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "a refused export left files behind";
}

}  // namespace
}  // namespace wdelta
