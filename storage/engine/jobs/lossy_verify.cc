#include "storage/engine/jobs/lossy_verify.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/chunk_input.h"

namespace wdelta {
namespace {

using store::v1::FidelityOutcome;
using store::v1::ModelRecord;

// Sums of the same numbers, in the same order, of which one went through a file.
constexpr double kRoundOff = 1e-9;

absl::Status Failed(absl::string_view what, absl::string_view expected, absl::string_view found) {
  return MakeError(absl::StatusCode::kDataLoss, "VERIFICATION_FAILED",
                   absl::StrCat(what, ": expected ", expected, " after decoding, found ", found));
}

class LossyVerification {
 public:
  LossyVerification(const JobDependencies& deps, JobContext& context, const ModelRecord& model,
                    const ContentSource& uploaded, const LossyPlan& plan)
      : deps_(deps), context_(context), model_(model), uploaded_(uploaded), plan_(plan) {}

  absl::StatusOr<FidelityOutcome> Run() {
    WDELTA_ASSIGN_OR_RETURN(stored_, deps_.reader->OpenWdelta(deps_.reader->OpenDelta(model_),
                                                              model_.storage_parent_id()));
    const WdeltaFile& file = stored_->stored()->file();
    if (!file.fidelity.has_value()) return absl::InternalError("a lossy .wdelta without a record");
    auto noted = file.fidelity->streams.begin();
    const std::vector<StreamInfo>& streams = stored_->checkpoint().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      if (i == 0 || streams[i].file_index != streams[i - 1].file_index) file_hasher_ = {};
      const bool is_noted = noted != file.fidelity->streams.end() && noted->stream == i;
      WDELTA_RETURN_IF_ERROR(CheckStream(i, is_noted ? &*noted : nullptr));
      if (is_noted) ++noted;
      const bool ends_file =
          i + 1 == streams.size() || streams[i + 1].file_index != streams[i].file_index;
      if (ends_file) WDELTA_RETURN_IF_ERROR(CheckFile(streams[i].file_index));
    }
    WDELTA_RETURN_IF_ERROR(CheckTargets());
    FidelityOutcome outcome = OutcomeOf(file);
    outcome.set_relative_error(outcome.relative_error() * plan_.delta_ratio);
    if (file.fidelity->uploaded_digest != ModelDigest(uploaded_.checkpoint().files)) {
      return Failed("uploaded_digest", "that of the upload", "another");
    }
    return outcome;
  }

 private:
  struct Sums {
    double squared_error = 0;
    double squared_delta = 0;
  };

  absl::Status CheckStream(uint32_t index, const WdeltaStreamFidelity* noted) {
    const TensorInfo& tensor = stored_->checkpoint().streams[index].tensor;
    const bool is_lossy = noted != nullptr && noted->strategy != Strategy::kLossless;
    const auto cursor = deps_.reader->NewCursor(stored_, {{index, 0, tensor.size_bytes}});
    Sha256Hasher hasher;
    DeltaMoments error;
    uint64_t offset = 0;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
      if (!piece.has_value()) break;
      hasher.Update(piece->data);
      file_hasher_.Update(piece->data);
      WDELTA_RETURN_IF_ERROR(Compare(index, offset, piece->data, is_lossy, error));
      offset += piece->data.size();
      WDELTA_RETURN_IF_ERROR(context_.Advance(0));
    }
    if (stored_->StreamDigest(index) != hasher.Current()) {
      return Failed(tensor.name, "the SHA-256 of its record", hasher.Current().ToHex());
    }
    if (noted == nullptr) return absl::OkStatus();
    return CheckNoted(tensor.name, *noted, error);
  }

  // Chunk by chunk, as the errors were summed when they were noted.
  absl::Status Compare(uint32_t index, uint64_t offset, absl::string_view decoded, bool is_lossy,
                       DeltaMoments& error) {
    const TensorInfo& tensor = stored_->checkpoint().streams[index].tensor;
    while (!decoded.empty()) {
      const absl::string_view chunk = decoded.substr(0, limits::kChunkBytes);
      original_.resize(chunk.size());
      WDELTA_RETURN_IF_ERROR(uploaded_.Read(index, offset, original_.size(), original_.data()));
      if (is_lossy) {
        WDELTA_ASSIGN_OR_RETURN(const DeltaMoments moments,
                                MeasureDelta(tensor.dtype, chunk, original_));
        error.Add(moments);
      } else if (chunk != original_) {
        return Failed(tensor.name, absl::StrCat("the uploaded bytes at ", offset), "others");
      }
      decoded.remove_prefix(chunk.size());
      offset += chunk.size();
    }
    return absl::OkStatus();
  }

  absl::Status CheckNoted(const std::string& name, const WdeltaStreamFidelity& noted,
                          const DeltaMoments& error) {
    const bool is_same =
        std::abs(error.squared_delta - noted.squared_error) <= kRoundOff * noted.squared_error &&
        error.max_absolute_delta == noted.max_absolute_error;
    if (!error.finite || !is_same) {
      return Failed(name,
                    absl::StrCat("squared error ", noted.squared_error, " and at most ",
                                 noted.max_absolute_error),
                    absl::StrCat(error.squared_delta, " and ", error.max_absolute_delta,
                                 error.finite ? "" : ", not finite"));
    }
    const LossyStream* planned = plan_.Find(noted.stream);
    if (planned == nullptr) return Failed(name, "no record", "one");
    const double target = planned->tensor.policy.relative_error;
    if (target > 0) {
      by_target_[target].squared_error += error.squared_delta;
      by_target_[target].squared_delta += noted.squared_delta;
    }
    return absl::OkStatus();
  }

  absl::Status CheckTargets() const {
    for (const auto& [target, sums] : by_target_) {
      if (sums.squared_error <= target * target * sums.squared_delta * (1 + kRoundOff)) continue;
      return Failed("relative error", absl::StrCat("at most ", target),
                    absl::StrCat(std::sqrt(sums.squared_error / sums.squared_delta)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckFile(uint32_t file_index) {
    const store::v1::FileRecord& file = model_.files(static_cast<int>(file_index));
    if (file_hasher_.Current().ToBytes() == file.sha256()) return absl::OkStatus();
    return Failed(file.path(), "the SHA-256 of its record", file_hasher_.Current().ToHex());
  }

  const JobDependencies& deps_;
  JobContext& context_;
  const ModelRecord& model_;
  const ContentSource& uploaded_;
  const LossyPlan& plan_;
  ContentSourcePtr stored_;
  Sha256Hasher file_hasher_;
  std::string original_;
  // Tensors that share a relative error as their target meet it together.
  std::map<double, Sums> by_target_;
};

}  // namespace

absl::StatusOr<FidelityOutcome> VerifyLossyDelta(const JobDependencies& deps, JobContext& context,
                                                 const ModelRecord& model,
                                                 const ContentSource& uploaded,
                                                 const LossyPlan& plan) {
  return LossyVerification(deps, context, model, uploaded, plan).Run();
}

FidelityOutcome OutcomeOf(const WdeltaFile& file) {
  FidelityOutcome outcome;
  if (!file.fidelity.has_value()) return outcome;
  double squared_error = 0;
  double squared_delta = 0;
  for (const WdeltaStreamFidelity& stream : file.fidelity->streams) {
    squared_error += stream.squared_error;
    squared_delta += stream.squared_delta;
    outcome.set_max_absolute_error(
        std::max(outcome.max_absolute_error(), stream.max_absolute_error));
    if (stream.strategy != Strategy::kLossless) {
      outcome.set_lossy_tensor_count(outcome.lossy_tensor_count() + 1);
    }
  }
  outcome.set_lossy(file.fidelity->uploaded_digest != file.model_digest);
  if (squared_delta > 0) outcome.set_relative_error(std::sqrt(squared_error / squared_delta));
  outcome.set_uploaded_digest(file.fidelity->uploaded_digest.ToBytes());
  return outcome;
}

}  // namespace wdelta
