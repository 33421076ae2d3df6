#include "client/cpp/fetch_to_file.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/part_file.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/pull.h"
#include "storage/base/error.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

v1::TensorSlice ToProto(const SliceRule& rule) {
  v1::TensorSlice slice;
  slice.set_name_pattern(rule.name_pattern);
  slice.set_axis(rule.axis);
  if (const auto* const range = std::get_if<AxisRange>(&rule.part)) {
    slice.mutable_range()->set_start(range->start);
    slice.mutable_range()->set_stop(range->stop);
  } else {
    const AxisShard& shard = std::get<AxisShard>(rule.part);
    slice.mutable_shard()->set_index(shard.index);
    slice.mutable_shard()->set_count(shard.count);
  }
  return slice;
}

v1::FetchTensorsRequest RequestOf(const std::string& model, const FetchToFileOptions& options) {
  v1::FetchTensorsRequest request;
  request.set_model(model);
  for (const std::string& pattern : options.name_patterns) request.add_name_patterns(pattern);
  for (const SliceRule& rule : options.slices) *request.add_slices() = ToProto(rule);
  return request;
}

absl::StatusOr<WrittenTensor> Describe(const v1::Tensor& listed,
                                       const std::vector<SliceRule>& rules) {
  WrittenTensor written;
  TensorInfo& tensor = written.tensor;
  tensor.name = listed.name();
  tensor.shape.assign(listed.shape().begin(), listed.shape().end());
  WDELTA_ASSIGN_OR_RETURN(tensor.dtype, ParseDType(listed.dtype()));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<TensorSlice> slice, SliceOf(rules, tensor));
  if (slice.has_value()) {
    written.slice = slice->part();
    tensor.shape = slice->shape();
  }
  WDELTA_ASSIGN_OR_RETURN(tensor.size_bytes, TensorBytes(tensor.dtype, tensor.shape));
  return written;
}

// What the file will hold, in the order in which it is sent.
absl::StatusOr<std::vector<WrittenTensor>> Plan(Client& client, const std::string& model,
                                                const FetchToFileOptions& options) {
  std::vector<WrittenTensor> plan;
  absl::flat_hash_map<std::string, std::string> file_of;
  Pager<v1::Tensor> pager = client.ListTensors(model);
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<v1::Tensor> listed, pager.Next());
    if (!listed.has_value()) break;
    if (!MatchesAny(options.name_patterns, listed->name())) continue;
    const auto [known, is_new] = file_of.emplace(listed->name(), listed->file());
    if (!is_new) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "DUPLICATE_TENSOR",
          absl::StrCat("tensor '", listed->name(), "' is in ", known->second, " and in ",
                       listed->file(), ": expected names that differ, to be put into one file"),
          {{"tensor", listed->name()}});
    }
    WDELTA_ASSIGN_OR_RETURN(plan.emplace_back(), Describe(*listed, options.slices));
  }
  if (!plan.empty()) return plan;
  return MakeError(absl::StatusCode::kNotFound, "NO_TENSOR_MATCHES",
                   absl::StrCat("model '", model, "' has no tensor that matches `",
                                absl::StrJoin(options.name_patterns, "`, `"), "`"));
}

absl::StatusOr<std::string> HeaderOf(const std::vector<WrittenTensor>& plan,
                                     const std::string& model) {
  std::vector<TensorInfo> tensors;
  tensors.reserve(plan.size());
  for (const WrittenTensor& written : plan) tensors.push_back(written.tensor);
  return WriteSafetensorsHeader(tensors, {{"format", "pt"}, {"wdelta.model", model}});
}

// Whether the server sends what the header of the file says.
absl::Status CheckHeader(const WrittenTensor* expected, const v1::TensorHeader& found) {
  std::optional<AxisSlice> slice;
  if (found.has_slice()) {
    slice = AxisSlice{found.slice().axis(), found.slice().start(), found.slice().stop()};
  }
  const bool is_expected = expected != nullptr && found.name() == expected->tensor.name &&
                           found.dtype() == DTypeName(expected->tensor.dtype) &&
                           slice == expected->slice &&
                           found.length() == expected->tensor.size_bytes;
  if (is_expected) return absl::OkStatus();
  return PieceError(
      absl::StrCat("tensor ", found.name()), "UNEXPECTED_TENSOR",
      absl::StrCat("expected ",
                   expected == nullptr ? "no further tensor"
                                       : absl::StrCat(expected->tensor.name, " of ",
                                                      expected->tensor.size_bytes, " bytes"),
                   ", found ", found.length(), " bytes"));
}

}  // namespace

absl::StatusOr<FetchToFileResult> FetchToFile(Client& client, const std::string& model,
                                              const std::string& file_name,
                                              const FetchToFileOptions& options) {
  for (const SliceRule& rule : options.slices) WDELTA_RETURN_IF_ERROR(ValidateSliceRule(rule));
  FetchToFileResult result;
  WDELTA_ASSIGN_OR_RETURN(result.model, client.GetModelToFetch(model));
  // By id: names may move meanwhile.
  const std::string id = absl::StrCat("id:", result.model.id());
  WDELTA_ASSIGN_OR_RETURN(result.tensors, Plan(client, id, options));
  WDELTA_ASSIGN_OR_RETURN(const std::string header, HeaderOf(result.tensors, id));
  Progress progress{.path = file_name};
  for (const WrittenTensor& written : result.tensors) {
    progress.total_bytes += written.tensor.size_bytes;
  }
  WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Create(file_name));
  WDELTA_RETURN_IF_ERROR(part.Append(header));
  size_t begun = 0;
  TensorSink sink;
  sink.on_tensor = [&](const v1::TensorHeader& found) {
    const WrittenTensor* const expected =
        begun < result.tensors.size() ? &result.tensors[begun] : nullptr;
    ++begun;
    return CheckHeader(expected, found);
  };
  sink.on_bytes = [&](absl::string_view bytes) -> absl::Status {
    WDELTA_RETURN_IF_ERROR(part.Append(bytes));
    progress.done_bytes += bytes.size();
    if (options.progress) options.progress(progress);
    return absl::OkStatus();
  };
  WDELTA_RETURN_IF_ERROR(TellIfDeleted(
      FetchTensors(client, RequestOf(id, options), sink, options.fetch), result.model));
  if (begun != result.tensors.size()) {
    return PieceError(file_name, "TRUNCATED_STREAM",
                      absl::StrCat("expected ", result.tensors.size(), " tensors, found ", begun));
  }
  WDELTA_RETURN_IF_ERROR(part.Commit());
  result.file_bytes = header.size() + progress.done_bytes;
  return result;
}

}  // namespace wdelta
