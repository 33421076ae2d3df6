#include "tests/bench/lossy_file.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/storage_plan.h"
#include "tests/bench/folder_source.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {
namespace {

store::v1::FidelityPolicy ToRecord(const TensorPolicy& policy, Effort effort) {
  store::v1::FidelityPolicy record;
  record.set_effort(static_cast<store::v1::Effort>(effort));
  store::v1::TensorPolicy& all = *record.mutable_all();
  all.set_strategy(static_cast<store::v1::Strategy>(policy.strategy));
  all.set_relative_error(policy.relative_error);
  all.set_bits_per_weight(policy.bits_per_weight);
  all.set_sparsity(policy.sparsity);
  return record;
}

absl::StatusOr<std::string> ReadStream(const ContentSource& source, uint32_t stream) {
  std::string bytes(source.checkpoint().streams[stream].tensor.size_bytes, '\0');
  WDELTA_RETURN_IF_ERROR(source.Read(stream, 0, bytes.size(), bytes.data()));
  return bytes;
}

}  // namespace

absl::StatusOr<LossyFile> SaveLossyDelta(const std::string& parent_folder,
                                         const std::string& target_folder,
                                         const TensorPolicy& policy, Effort effort,
                                         const std::string& path, ThreadPool* pool) {
  LossyPlanInput plan_input;
  WDELTA_ASSIGN_OR_RETURN(plan_input.parent, OpenFolder(parent_folder));
  WDELTA_ASSIGN_OR_RETURN(plan_input.target, OpenFolder(target_folder));
  plan_input.parent_streams =
      MatchStreams(plan_input.target->checkpoint(), plan_input.parent->checkpoint());
  plan_input.policy = ToRecord(policy, effort);
  plan_input.advance = [] { return absl::OkStatus(); };
  LossyFile result;
  WDELTA_ASSIGN_OR_RETURN(result.plan, PlanLossy(plan_input, pool));

  DeltaEncoderInput input;
  input.target = plan_input.target;
  input.parent = plan_input.parent;
  input.parent_streams = plan_input.parent_streams;
  input.effort = effort;
  input.lossy = &result.plan;
  input.advance = [](uint64_t) { return absl::OkStatus(); };
  WDELTA_ASSIGN_OR_RETURN(const auto out, NewPosixFileSystem()->OpenForAppend(path, 0));
  WDELTA_ASSIGN_OR_RETURN(
      const WdeltaFile file,
      EncodeDelta(input, pool, [&](absl::string_view bytes) { return out->Append(bytes); }));
  result.file_bytes = file.file_bytes;
  return result;
}

absl::StatusOr<double> LossyEncodeSpeed(const std::string& parent_folder,
                                        const std::string& target_folder, const LossyPlan& plan) {
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr parent, OpenFolder(parent_folder));
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr target, OpenFolder(target_folder));
  const auto matches = MatchStreams(target->checkpoint(), parent->checkpoint());
  ChunkCodec codec;
  LossyChunk encoded;
  double seconds = 0;
  double bytes = 0;
  for (const LossyStream& stream : plan.streams) {
    if (stream.params.strategy == Strategy::kLossless) continue;
    const TensorInfo& tensor = target->checkpoint().streams[stream.stream].tensor;
    WDELTA_ASSIGN_OR_RETURN(const std::string target_bytes, ReadStream(*target, stream.stream));
    WDELTA_ASSIGN_OR_RETURN(const std::string parent_bytes,
                            ReadStream(*parent, *matches[stream.stream]));
    const uint64_t weight_bytes = BitsPerElement(tensor.dtype) / 8;
    for (size_t at = 0; at < target_bytes.size(); at += limits::kChunkBytes) {
      const ChunkGeometry geometry{tensor.shape.back(), at / weight_bytes};
      const auto chunk = [at](const std::string& whole) {
        return absl::string_view(whole).substr(at, limits::kChunkBytes);
      };
      const double start = ThreadSeconds();
      WDELTA_RETURN_IF_ERROR(codec.EncodeLossy(tensor.dtype, geometry, chunk(target_bytes),
                                               chunk(parent_bytes), stream.params, encoded));
      seconds += ThreadSeconds() - start;
      bytes += static_cast<double>(chunk(target_bytes).size());
    }
  }
  return seconds > 0 ? bytes / 1e9 / seconds : 0;
}

}  // namespace wdelta::bench
