// Compare.Blame.
#include <optional>
#include <string>
#include <utility>

#include "server/rpc/blocking_stream.h"
#include "server/rpc/compare_service.h"
#include "server/rpc/convert.h"
#include "server/rpc/tensor_shape.h"
#include "storage/base/status_macros.h"
#include "storage/engine/compare/model_blame.h"

namespace wdelta {
namespace {

using Stream = BlockingStream<v1::BlameResponse>;

v1::TensorBlame::TrailEnd ToProto(LostParent::Reason reason) {
  switch (reason) {
    case LostParent::Reason::kDeleted:
      return v1::TensorBlame::PARENT_DELETED;
    case LostParent::Reason::kNotReady:
      return v1::TensorBlame::PARENT_NOT_READY;
    case LostParent::Reason::kTooManyAncestors:
      break;
  }
  return v1::TensorBlame::TOO_MANY_ANCESTORS;
}

v1::TensorBlame ToProto(const ModelBlame& blame, const TensorBlame& tensor) {
  const BlameOrigin& origin = blame.origins[tensor.origin];
  v1::TensorBlame out;
  out.set_name(tensor.tensor.name);
  *out.mutable_tensor() = ShapeToProto(tensor.tensor);
  out.set_size_bytes(tensor.tensor.size_bytes);
  out.set_model(IdReference(origin.model_id));
  out.set_model_name(origin.name);
  out.set_name_there(tensor.name_there);
  if (!tensor.lost_parent.has_value()) return out;
  const LostParent& lost = blame.lost_parents[*tensor.lost_parent];
  out.set_trail_end(ToProto(lost.reason));
  out.set_lost_parent(IdReference(lost.model_id));
  out.set_lost_parent_name(lost.name);
  return out;
}

absl::Status SendBlame(ModelStore& store, const v1::BlameRequest& request, Stream& stream) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().Resolve(request.model()));
  WDELTA_ASSIGN_OR_RETURN(const ModelBlame blame,
                          BlameTensors(store.models(), store.reader(), model,
                                       [&stream] { return stream.CheckAlive(); }));
  v1::BlameResponse header;
  header.mutable_header()->set_model(IdReference(model.record.id()));
  header.mutable_header()->set_name(model.record.name());
  WDELTA_RETURN_IF_ERROR(stream.Send(std::move(header)));
  v1::BlameResponse last;
  v1::BlameTotals& totals = *last.mutable_totals();
  for (const TensorBlame& tensor : blame.tensors) {
    WDELTA_RETURN_IF_ERROR(stream.CheckAlive());
    v1::BlameResponse part;
    *part.mutable_tensor() = ToProto(blame, tensor);
    WDELTA_RETURN_IF_ERROR(stream.Send(std::move(part)));
    totals.set_size_bytes(totals.size_bytes() + tensor.tensor.size_bytes);
    if (!tensor.name_there.empty()) totals.set_renamed_tensors(totals.renamed_tensors() + 1);
    if (tensor.lost_parent.has_value())
      totals.set_uncertain_tensors(totals.uncertain_tensors() + 1);
  }
  for (const BlameOrigin& origin : blame.origins) {
    v1::BlameResponse part;
    v1::ModelBlame& out = *part.mutable_model();
    out.set_model(IdReference(origin.model_id));
    out.set_name(origin.name);
    out.set_tensor_count(origin.tensor_count);
    out.set_size_bytes(origin.size_bytes);
    WDELTA_RETURN_IF_ERROR(stream.Send(std::move(part)));
  }
  totals.set_tensor_count(blame.tensors.size());
  return stream.Send(std::move(last));
}

}  // namespace

// A request lives as long as its call.
grpc::ServerWriteReactor<v1::BlameResponse>* CompareService::Blame(
    grpc::CallbackServerContext* context, const v1::BlameRequest* request) {
  return new Stream(&environment_, "Compare.Blame", context, request,
                    [this, request](Stream& stream) {
                      return SendBlame(environment_.store(), *request, stream);
                    });
}

}  // namespace wdelta
