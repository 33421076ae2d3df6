#include "server/rpc/compare_service.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/blocking_stream.h"
#include "server/rpc/convert.h"
#include "server/rpc/tensor_shape.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/compare/model_diff.h"

namespace wdelta {
namespace {

using Stream = BlockingStream<v1::DiffResponse>;

v1::Change ToProto(DiffKind change) {
  switch (change) {
    case DiffKind::kUnchanged:
      return v1::UNCHANGED;
    case DiffKind::kChanged:
      return v1::CHANGED;
    case DiffKind::kOnlyInA:
      return v1::ONLY_IN_A;
    case DiffKind::kOnlyInB:
      return v1::ONLY_IN_B;
    case DiffKind::kDTypeChanged:
      return v1::DTYPE_CHANGED;
    case DiffKind::kShapeChanged:
      break;
  }
  return v1::SHAPE_CHANGED;
}

void Fill(const Difference& difference, v1::Difference* out) {
  out->set_weights(difference.weights);
  out->set_changed_weights(difference.changed);
  out->set_non_finite_weights(difference.non_finite);
  const std::optional<double> relative_norm = difference.RelativeNorm();
  if (relative_norm.has_value()) out->set_relative_norm(*relative_norm);
  out->set_max_absolute_change(difference.max_change);
}

void Fill(const DiffSummary& summary, v1::TensorCounts* out) {
  out->set_unchanged(summary.tensors_unchanged);
  out->set_changed(summary.tensors_changed);
  out->set_only_in_a(summary.tensors_only_in_a);
  out->set_only_in_b(summary.tensors_only_in_b);
  out->set_dtype_changed(summary.tensors_retyped);
  out->set_shape_changed(summary.tensors_reshaped);
}

v1::TensorDiff ToProto(const TensorDiff& diff) {
  v1::TensorDiff out;
  out.set_name(diff.name);
  out.set_change(ToProto(diff.change));
  if (diff.a.has_value()) *out.mutable_a() = ShapeToProto(*diff.a);
  if (diff.b.has_value()) *out.mutable_b() = ShapeToProto(*diff.b);
  const bool is_measured = diff.change == DiffKind::kChanged || diff.change == DiffKind::kUnchanged;
  if (is_measured) Fill(diff.difference, out.mutable_difference());
  // Of dtypes without numbers it is only known that bytes differ.
  const bool has_figures = diff.difference.weights > 0 || diff.change == DiffKind::kUnchanged;
  if (is_measured && !has_figures) out.mutable_difference()->clear_relative_norm();
  return out;
}

// What is not finite comes first, then what has no relative norm.
std::pair<bool, double> SortKey(const v1::TensorDiff& diff) {
  const v1::Difference& difference = diff.difference();
  return {difference.non_finite_weights() > 0, difference.has_relative_norm()
                                                   ? difference.relative_norm()
                                                   : std::numeric_limits<double>::infinity()};
}

class DiffCall {
 public:
  DiffCall(ModelStore* store, const v1::DiffRequest& request, Stream* stream)
      : store_(*store), request_(request), stream_(*stream) {}

  absl::Status Run() {
    if (!v1::DiffRequest::Order_IsValid(request_.order())) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_ORDER",
                       absl::StrCat("order: expected BY_RELATIVE_NORM or BY_NAME, found ",
                                    static_cast<int>(request_.order())));
    }
    DiffInput input;
    v1::DiffResponse header;
    v1::DiffHeader& models = *header.mutable_header();
    WDELTA_ASSIGN_OR_RETURN(
        input.a, Open(request_.model_a(), models.mutable_model_a(), models.mutable_name_a()));
    WDELTA_ASSIGN_OR_RETURN(
        input.b, Open(request_.model_b(), models.mutable_model_b(), models.mutable_name_b()));
    input.alive = [this] { return stream_.CheckAlive(); };
    WDELTA_RETURN_IF_ERROR(stream_.Send(std::move(header)));
    WDELTA_RETURN_IF_ERROR(DiffTensors(input, &store_.codec_pool(),
                                       [this](const TensorDiff& diff) { return Take(diff); }));
    WDELTA_RETURN_IF_ERROR(SendSorted());
    WDELTA_RETURN_IF_ERROR(SendLayers());
    for (const FileDiff& file : DiffFiles(input.a->checkpoint(), input.b->checkpoint())) {
      WDELTA_RETURN_IF_ERROR(SendFile(file));
    }
    v1::DiffResponse totals;
    Fill(totals_, totals.mutable_totals()->mutable_tensors());
    Fill(totals_.difference, totals.mutable_totals()->mutable_difference());
    return stream_.Send(std::move(totals));
  }

 private:
  absl::StatusOr<ContentSourcePtr> Open(const std::string& reference, std::string* id,
                                        std::string* name) {
    WDELTA_ASSIGN_OR_RETURN(const Model model, store_.models().Resolve(reference));
    *id = IdReference(model.record.id());
    *name = model.record.name();
    return store_.reader().Open(model.record);
  }

  absl::Status Take(const TensorDiff& diff) {
    totals_.Add(diff);
    layers_[LayerOf(diff.name)].Add(diff);
    if (request_.omit_unchanged() && diff.change == DiffKind::kUnchanged) return absl::OkStatus();
    if (request_.order() != v1::DiffRequest::BY_NAME) {
      to_sort_.push_back(ToProto(diff));
      return absl::OkStatus();
    }
    v1::DiffResponse response;
    *response.mutable_tensor() = ToProto(diff);
    return stream_.Send(std::move(response));
  }

  absl::Status SendSorted() {
    std::stable_sort(to_sort_.begin(), to_sort_.end(), [](const auto& left, const auto& right) {
      return SortKey(left) > SortKey(right);
    });
    for (v1::TensorDiff& diff : to_sort_) {
      v1::DiffResponse response;
      *response.mutable_tensor() = std::move(diff);
      WDELTA_RETURN_IF_ERROR(stream_.Send(std::move(response)));
    }
    return absl::OkStatus();
  }

  absl::Status SendLayers() {
    for (const auto& [name, summary] : layers_) {
      v1::DiffResponse response;
      v1::LayerDiff& layer = *response.mutable_layer();
      layer.set_layer(name);
      Fill(summary, layer.mutable_tensors());
      Fill(summary.difference, layer.mutable_difference());
      WDELTA_RETURN_IF_ERROR(stream_.Send(std::move(response)));
    }
    return absl::OkStatus();
  }

  absl::Status SendFile(const FileDiff& file) {
    if (request_.omit_unchanged() && file.change == DiffKind::kUnchanged) return absl::OkStatus();
    v1::DiffResponse response;
    response.mutable_file()->set_path(file.path);
    response.mutable_file()->set_change(ToProto(file.change));
    response.mutable_file()->set_size_bytes_a(file.size_bytes_a);
    response.mutable_file()->set_size_bytes_b(file.size_bytes_b);
    return stream_.Send(std::move(response));
  }

  ModelStore& store_;
  const v1::DiffRequest& request_;
  Stream& stream_;
  DiffSummary totals_;
  std::map<std::string, DiffSummary> layers_;
  std::vector<v1::TensorDiff> to_sort_;
};

}  // namespace

// A request lives as long as its call.
grpc::ServerWriteReactor<v1::DiffResponse>* CompareService::Diff(
    grpc::CallbackServerContext* context, const v1::DiffRequest* request) {
  return new Stream(&environment_, "Compare.Diff", context, request,
                    [this, request](Stream& stream) {
                      return DiffCall(&environment_.store(), *request, &stream).Run();
                    });
}

}  // namespace wdelta
