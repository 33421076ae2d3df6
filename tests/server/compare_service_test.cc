#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

v1::DiffRequest DiffOf(const std::string& a, const std::string& b) {
  v1::DiffRequest request;
  request.set_model_a(a);
  request.set_model_b(b);
  return request;
}

struct Answer {
  grpc::Status status;
  std::vector<v1::DiffResponse> parts;
};

Answer Diff(TestServer& server, const v1::DiffRequest& request) {
  Answer answer;
  grpc::ClientContext context;
  const auto reader = server.compare->Diff(&context, request);
  for (v1::DiffResponse part; reader->Read(&part);) answer.parts.push_back(part);
  answer.status = reader->Finish();
  return answer;
}

// The last call gives its slot back a little after its client has the answer.
Admission::Slot TakeSlot(TestServer& server) {
  while (true) {
    std::optional<Admission::Slot> slot = server.environment().comparisons().TryEnter();
    if (slot.has_value()) return *std::move(slot);
  }
}

TEST(CompareService, DiffComesInTheOrderOfItsContract) {
  TestServer server;
  server.Push("base", SmallCheckpoint(1));
  server.Push("tuned", SmallCheckpoint(1, 7), {"base"});
  server.RunJobs();
  for (const v1::DiffRequest::Order order :
       {v1::DiffRequest::ORDER_UNSPECIFIED, v1::DiffRequest::BY_NAME}) {
    v1::DiffRequest request = DiffOf("base", "tuned");
    request.set_order(order);
    const Answer answer = Diff(server, request);
    ASSERT_EQ(CodeAndReason(answer.status), "OK");
    int before = 0;
    std::vector<std::string> names;
    for (const v1::DiffResponse& part : answer.parts) {
      EXPECT_GE(part.part_case(), before);
      before = part.part_case();
      if (part.has_tensor()) names.push_back(part.tensor().name());
    }
    ASSERT_TRUE(answer.parts.front().has_header());
    EXPECT_EQ(answer.parts.front().header().name_b(), "tuned");
    ASSERT_TRUE(answer.parts.back().has_totals());
    EXPECT_EQ(names.size(), 5u);
    EXPECT_EQ(answer.parts.back().totals().tensors().unchanged(), 2u);
    if (order == v1::DiffRequest::BY_NAME) {
      EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
    } else {
      EXPECT_EQ(names[3], "layers.1.norm.weight");  // the one without weights
      EXPECT_EQ(names[4], "scale");                 // whose only weight has not moved
    }
  }
}

// A tensor with a NaN is the most broken of all, and has no norm.
TEST(CompareService, WhatIsNotFiniteComesFirst) {
  TestServer server;
  const auto floats = [](const std::vector<float>& numbers) {
    return std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * 4);
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto push = [&](const std::string& name, float c, float d, float x) {
    server.Push(name,
                {{"m.safetensors", BuildSafetensors({{"a", DType::kF32, {2}, floats({0, 0.5f * x})},
                                                     {"b", DType::kF32, {2}, floats({1, 1 + x})},
                                                     {"c", DType::kF32, {2}, floats({1, c})},
                                                     {"d", DType::kF32, {2}, floats({1, d})}})}});
  };
  push("left", 1, 1, 0);
  push("right", nan, 2, 1);
  const Answer answer = Diff(server, DiffOf("left", "right"));
  ASSERT_EQ(CodeAndReason(answer.status), "OK");
  std::vector<std::string> names;
  for (const v1::DiffResponse& part : answer.parts) {
    if (part.has_tensor()) names.push_back(part.tensor().name());
    if (!part.has_tensor() || part.tensor().name() != "c") continue;
    EXPECT_FALSE(part.tensor().difference().has_relative_norm());
    EXPECT_EQ(part.tensor().difference().non_finite_weights(), 1u);
  }
  // `a` was zero, and has no norm either.
  EXPECT_THAT(names, ::testing::ElementsAre("c", "a", "b", "d"));
  EXPECT_EQ(answer.parts.back().totals().difference().non_finite_weights(), 1u);
  EXPECT_FALSE(answer.parts.back().totals().difference().has_relative_norm());
}

TEST(CompareService, RefusesWhatItCannotAnswer) {
  TestServer server;
  server.Push("base", SmallCheckpoint(1));
  v1::DiffRequest request = DiffOf("base", "base");
  request.set_order(static_cast<v1::DiffRequest::Order>(77));
  const Answer bad_order = Diff(server, request);
  EXPECT_EQ(CodeAndReason(bad_order.status), "INVALID_ARGUMENT BAD_ORDER");
  EXPECT_THAT(bad_order.status.error_message(), ::testing::HasSubstr("77"));
  EXPECT_TRUE(bad_order.parts.empty());
  EXPECT_EQ(CodeAndReason(Diff(server, DiffOf("base", "nobody")).status),
            "NOT_FOUND MODEL_NOT_FOUND");
  EXPECT_EQ(CodeAndReason(Diff(server, DiffOf("sha256:xyz", "base")).status),
            "INVALID_ARGUMENT BAD_REFERENCE");
}

TEST(CompareService, NoMoreComparisonsAtOnceThanAllowed) {
  TestServer server;
  server.Push("base", SmallCheckpoint(1));
  std::vector<Admission::Slot> slots;
  while (slots.size() + 1 < limits::kMaxComparisons) slots.push_back(TakeSlot(server));
  EXPECT_EQ(CodeAndReason(Diff(server, DiffOf("base", "base")).status), "OK");
  slots.push_back(TakeSlot(server));
  EXPECT_EQ(CodeAndReason(Diff(server, DiffOf("base", "base")).status),
            "RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS");
  v1::BlameRequest blame;
  blame.set_model("base");
  grpc::ClientContext context;
  const auto reader = server.compare->Blame(&context, blame);
  v1::BlameResponse part;
  EXPECT_FALSE(reader->Read(&part));
  EXPECT_EQ(CodeAndReason(reader->Finish()), "RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS");
  slots.clear();
  EXPECT_EQ(CodeAndReason(Diff(server, DiffOf("base", "base")).status), "OK");
}

TEST(CompareService, ACancelledDiffGivesItsPlaceBack) {
  TestServer server;
  // More parts than a stream buffers, so that the call cannot end by itself.
  std::vector<TestTensor> tensors;
  for (uint32_t i = 0; i < 3000; ++i) {
    tensors.push_back(RandomWeights(absl::StrCat("layers.", i, ".w"), {1}, i));
  }
  server.Push("m", {{"model.safetensors", BuildSafetensors(tensors)}});
  v1::DiffRequest request = DiffOf("m", "m");
  request.set_order(v1::DiffRequest::BY_NAME);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::DiffResponse>>> readers;
  for (int i = 0; i < limits::kMaxComparisons; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(server.compare->Diff(contexts.back().get(), request));
    v1::DiffResponse part;
    ASSERT_TRUE(readers.back()->Read(&part));
    EXPECT_TRUE(part.has_header());
  }
  EXPECT_EQ(CodeAndReason(Diff(server, request).status), "RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS");
  for (int i = 0; i < limits::kMaxComparisons; ++i) {
    contexts[i]->TryCancel();
    v1::DiffResponse part;
    while (readers[i]->Read(&part)) {
    }
    EXPECT_EQ(readers[i]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  // The server hears of the cancellation a little later than the client.
  Answer answer = Diff(server, request);
  while (answer.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    answer = Diff(server, request);
  }
  EXPECT_EQ(CodeAndReason(answer.status), "OK");
  EXPECT_GT(answer.parts.size(), 3000u);
}

TEST(CompareService, ADiffEndsWhenTheServerDrains) {
  TestServer server;
  server.Push("base", SmallCheckpoint(1));
  server.environment().StartDraining();
  EXPECT_EQ(CodeAndReason(Diff(server, DiffOf("base", "base")).status), "UNAVAILABLE STOPPING");
}

TEST(CompareService, BlameTellsEveryTensorThenEveryModelThenTotals) {
  TestServer server;
  const TestTensor kept = RandomWeights("kept", {64, 8}, 1);
  const TestTensor tuned = RandomWeights("tuned", {64, 8}, 2);
  TestTensor moved = RandomWeights("moved", {32, 8}, 3);
  const auto push = [&](const std::string& name, const std::vector<TestTensor>& tensors,
                        const std::vector<std::string>& parents) {
    return server.Push(name, {{"model.safetensors", BuildSafetensors(tensors)}}, parents);
  };
  push("base", {kept, tuned, moved}, {});
  server.RunJobs();
  moved.name = "moved.to";
  push("child", {kept, FineTuned(tuned, 9), moved}, {"base"});
  server.RunJobs();
  v1::BlameRequest request;
  request.set_model("child");
  grpc::ClientContext context;
  const auto reader = server.compare->Blame(&context, request);
  std::vector<v1::BlameResponse> parts;
  for (v1::BlameResponse part; reader->Read(&part);) parts.push_back(part);
  ASSERT_EQ(CodeAndReason(reader->Finish()), "OK");
  ASSERT_EQ(parts.size(), 7u);
  EXPECT_EQ(parts[0].header().name(), "child");
  EXPECT_EQ(parts[1].tensor().name(), "kept");
  EXPECT_EQ(parts[1].tensor().model_name(), "base");
  EXPECT_EQ(parts[1].tensor().tensor().dtype(), "BF16");
  EXPECT_EQ(parts[2].tensor().name(), "moved.to");
  EXPECT_EQ(parts[2].tensor().name_there(), "moved");
  EXPECT_EQ(parts[3].tensor().model(), parts[0].header().model());
  EXPECT_EQ(parts[3].tensor().trail_end(), v1::TensorBlame::NO_TRAIL_END);
  EXPECT_EQ(parts[4].model().name(), "base");
  EXPECT_EQ(parts[4].model().tensor_count(), 2u);
  EXPECT_EQ(parts[5].model().size_bytes(), 1024u);
  EXPECT_EQ(parts[6].totals().tensor_count(), 3u);
  EXPECT_EQ(parts[6].totals().renamed_tensors(), 1u);
  EXPECT_EQ(parts[6].totals().uncertain_tensors(), 0u);
}

TEST(CompareService, BlameOfAModelThatIsNotReady) {
  TestServer server;
  server.Push("staged", SmallCheckpoint(1));
  for (const auto& [model, reason] :
       std::map<std::string, std::string>{{"staged", "FAILED_PRECONDITION MODEL_NOT_READY"},
                                          {"nobody", "NOT_FOUND MODEL_NOT_FOUND"},
                                          {"", "INVALID_ARGUMENT BAD_NAME"}}) {
    v1::BlameRequest request;
    request.set_model(model);
    grpc::ClientContext context;
    const auto reader = server.compare->Blame(&context, request);
    v1::BlameResponse part;
    EXPECT_FALSE(reader->Read(&part));
    EXPECT_EQ(CodeAndReason(reader->Finish()), reason);
  }
}

}  // namespace
}  // namespace wdelta::testing
