#include "server/rpc/models_service.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "server/rpc/fidelity_convert.h"
#include "server/rpc/own_page.h"
#include "server/rpc/page_token.h"
#include "server/rpc/unary.h"
#include "storage/base/error.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/names.h"

namespace wdelta {
namespace {

absl::StatusOr<v1::Model> WithFilesAndTags(ModelStore& store, const Model& model) {
  v1::Model out = ToProto(model, FileList::kInclude);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> tags,
                          store.models().TagsOf(model.record.id()));
  for (const std::string& tag : tags) out.add_tags(tag);
  return out;
}

absl::Status GetModelBody(ModelStore& store, const v1::GetModelRequest& request,
                          v1::Model* response) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, request.can_be_fetched()
                                                 ? store.models().ResolveToFetch(request.model())
                                                 : store.models().Resolve(request.model()));
  if (request.can_be_fetched()) WDELTA_RETURN_IF_ERROR(CheckCanBeFetched(model.record));
  WDELTA_ASSIGN_OR_RETURN(*response, WithFilesAndTags(store, model));
  return absl::OkStatus();
}

absl::Status ListModelsBody(ModelStore& store, const v1::ListModelsRequest& request,
                            v1::ListModelsResponse* response, const NameCheck& check_name) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const ModelFilter filter, FromProto(request));
  const uint32_t page_size = EffectivePageSize(request.page_size());
  WDELTA_ASSIGN_OR_RETURN(const Page<Model> page,
                          OwnPage(
                              check_name, after, page_size,
                              [&](const std::string& from, uint32_t limit) {
                                return store.models().List(filter, from, limit);
                              },
                              [](const Model& model) { return model.record.name(); },
                              [](const Model& model) { return model.record.id(); }));
  for (const Model& model : page.items) {
    *response->add_models() = ToProto(model, FileList::kOmit);
  }
  response->set_next_page_token(EncodePageToken(filters, page.next));
  return absl::OkStatus();
}

absl::Status ListTensorsBody(ModelStore& store, const v1::ListTensorsRequest& request,
                             v1::ListTensorsResponse* response, const NameCheck& check_name) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string position,
                          DecodePageToken(filters, request.page_token()));
  // The position is `<model id>/<next stream>`: a name may move between two pages.
  size_t next = 0;
  std::string reference = request.model();
  if (!position.empty()) {
    const size_t slash = position.find('/');
    if (slash == std::string::npos || !absl::SimpleAtoi(position.substr(slash + 1), &next)) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PAGE_TOKEN", "page_token: damaged");
    }
    reference = IdReference(position.substr(0, slash));
  }
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().ResolveToFetch(reference));
  // A page token may be made up.
  WDELTA_RETURN_IF_ERROR(CheckFound(check_name, reference, model.record.name()));
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, store.reader().Open(model.record));
  const Checkpoint& checkpoint = source->checkpoint();
  const std::shared_ptr<const WdeltaReader> stored = source->stored();
  const WdeltaFile* const file = stored == nullptr ? nullptr : &stored->file();
  const int page_size = static_cast<int>(EffectivePageSize(request.page_size()));
  for (; next < checkpoint.streams.size(); ++next) {
    const StreamInfo& stream = checkpoint.streams[next];
    if (stream.kind != StreamKind::kTensor) continue;
    if (response->tensors_size() == page_size) {
      response->set_next_page_token(
          EncodePageToken(filters, absl::StrCat(model.record.id(), "/", next)));
      break;
    }
    *response->add_tensors() = ToProto(checkpoint, static_cast<uint32_t>(next), file);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ParseEtag(const std::string& etag) {
  uint64_t version = 0;
  if (etag.empty()) return version;
  if (!absl::SimpleAtoi(etag, &version) || version == 0) {
    return MakeError(absl::StatusCode::kAborted, "CONFLICT",
                     "model.etag: never was the etag of a model");
  }
  return version;
}

absl::Status UpdateModelBody(ModelStore& store, const v1::UpdateModelRequest& request,
                             v1::Model* response) {
  std::optional<StringMap> labels;
  std::optional<StringMap> metadata;
  for (const std::string& path : request.update_mask().paths()) {
    if (path == "labels") {
      labels = ToStringMap(request.model().labels());
    } else if (path == "metadata") {
      metadata = ToStringMap(request.model().metadata());
    } else {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "BAD_UPDATE_MASK",
          absl::StrCat("update_mask: expected `labels` or `metadata`, found `", path, "`"),
          {{"field", path}});
    }
  }
  if (!labels.has_value() && !metadata.has_value()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_UPDATE_MASK",
                     "update_mask: expected `labels` or `metadata`, found nothing");
  }
  WDELTA_ASSIGN_OR_RETURN(const uint64_t expected_version, ParseEtag(request.model().etag()));
  std::string reference = request.model().id();
  if (IsWellFormedId(reference)) reference = IdReference(reference);
  WDELTA_ASSIGN_OR_RETURN(const Model model,
                          store.models().Update(reference, labels, metadata, expected_version));
  *response = ToProto(model, FileList::kOmit);
  return absl::OkStatus();
}

absl::Status ExplainStorageBody(ModelStore& store, const v1::ExplainStorageRequest& request,
                                v1::StorageExplanation* response) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().Resolve(request.model()));
  WDELTA_ASSIGN_OR_RETURN(const store::v1::StorageChoiceRecord choice,
                          store.models().StorageChoiceOf(model));
  *response = ToProto(model, choice);
  return absl::OkStatus();
}

absl::Status RepackModelBody(ModelStore& store, const v1::RepackModelRequest& request,
                             v1::RepackModelResponse* response) {
  WDELTA_ASSIGN_OR_RETURN(const store::v1::Effort effort,
                          EffortFromProto("effort", request.effort()));
  WDELTA_ASSIGN_OR_RETURN(const std::string job, store.models().Repack(request.model(), effort));
  response->set_job(job);
  return absl::OkStatus();
}

absl::Status ListTagsBody(ModelStore& store, const v1::ListTagsRequest& request,
                          v1::ListTagsResponse* response, const NameCheck& check_name) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  const uint32_t page_size = EffectivePageSize(request.page_size());
  WDELTA_ASSIGN_OR_RETURN(const Page<Tag> page,
                          OwnPage(
                              check_name, after, page_size,
                              [&](const std::string& from, uint32_t limit) {
                                return store.models().ListTags(request.name(), from, limit);
                              },
                              [](const Tag& tag) { return tag.name; },
                              [](const Tag& tag) { return absl::StrCat(tag.name, "@", tag.tag); }));
  for (const Tag& tag : page.items) *response->add_tags() = ToProto(tag);
  response->set_next_page_token(EncodePageToken(filters, page.next));
  return absl::OkStatus();
}

absl::Status ListTagHistoryBody(ModelStore& store, const v1::ListTagHistoryRequest& request,
                                v1::ListTagHistoryResponse* response, const NameCheck& check_name) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string position,
                          DecodePageToken(filters, request.page_token()));
  uint64_t after = 0;
  if (!position.empty() && (!absl::SimpleAtoi(position, &after) || after == 0)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PAGE_TOKEN", "page_token: damaged");
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<TagChange> changes,
                          store.models().TagHistory(request.name(), request.tag(), after,
                                                    EffectivePageSize(request.page_size())));
  for (const TagChange& change : changes) {
    v1::TagChange& told = *response->add_changes();
    told = ToProto(change);
    // A tag of one's own may have pointed at anybody's models.
    if (!MayName(check_name, told.from_name())) told.clear_from_name();
    if (!MayName(check_name, told.to_name())) told.clear_to_name();
  }
  // Changes have numbers from 1 without gaps.
  if (!changes.empty() && changes.back().number > 1) {
    response->set_next_page_token(EncodePageToken(filters, absl::StrCat(changes.back().number)));
  }
  return absl::OkStatus();
}

// The token, with what the client says in parentheses, as far as there is room; without tokens
// what the client says, or else its address, without the port, which tells nothing later.
// INVALID_ARGUMENT (`BAD_AUTHOR`).
absl::StatusOr<std::string> AuthorOf(const std::string& given, const RpcCall& call,
                                     const grpc::CallbackServerContext& context) {
  if (call.identity() != nullptr) {
    const std::string& name = call.identity()->name;
    if (given.empty() || given == name) return name;
    WDELTA_RETURN_IF_ERROR(ValidateAuthor(given));
    absl::string_view shown = given;
    shown = shown.substr(0, limits::kMaxAuthorBytes - name.size() - 3);
    // Not amid a character.
    while (shown.size() < given.size() && (given[shown.size()] & 0xC0) == 0x80) {
      shown.remove_suffix(1);
    }
    return absl::StrCat(name, " (", shown, ")");
  }
  if (!given.empty()) return given;
  std::string peer = context.peer();
  if (absl::StartsWith(peer, "ipv4:") || absl::StartsWith(peer, "ipv6:")) {
    peer.resize(peer.rfind(':'));
  }
  return ValidateAuthor(peer).ok() ? peer : "";
}

}  // namespace

grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context,
                                                  const v1::GetModelRequest* request,
                                                  v1::Model* response) {
  return ServeUnary(
      environment_, "Models.GetModel", context, request, response,
      [this](const auto& in, auto* out) { return GetModelBody(environment_.store(), in, out); });
}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const v1::ListModelsRequest* request,
                                                    v1::ListModelsResponse* response) {
  return ServeUnary(environment_, "Models.ListModels", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return ListModelsBody(environment_.store(), in, out, call.name_check());
                    });
}

grpc::ServerUnaryReactor* ModelsService::ListTensors(grpc::CallbackServerContext* context,
                                                     const v1::ListTensorsRequest* request,
                                                     v1::ListTensorsResponse* response) {
  return ServeUnary(environment_, "Models.ListTensors", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return ListTensorsBody(environment_.store(), in, out, call.name_check());
                    });
}

grpc::ServerUnaryReactor* ModelsService::UpdateModel(grpc::CallbackServerContext* context,
                                                     const v1::UpdateModelRequest* request,
                                                     v1::Model* response) {
  return ServeUnary(
      environment_, "Models.UpdateModel", context, request, response,
      [this](const auto& in, auto* out) { return UpdateModelBody(environment_.store(), in, out); });
}

grpc::ServerUnaryReactor* ModelsService::DeleteModel(grpc::CallbackServerContext* context,
                                                     const v1::DeleteModelRequest* request,
                                                     google::protobuf::Empty* response) {
  return ServeUnary(environment_, "Models.DeleteModel", context, request, response,
                    [this, context](const auto& in, auto*, const RpcCall& call) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(const std::string author,
                                              AuthorOf(in.author(), call, *context));
                      return environment_.store().models().Delete(in.model(), author);
                    });
}

grpc::ServerUnaryReactor* ModelsService::ExplainStorage(grpc::CallbackServerContext* context,
                                                        const v1::ExplainStorageRequest* request,
                                                        v1::StorageExplanation* response) {
  return ServeUnary(environment_, "Models.ExplainStorage", context, request, response,
                    [this](const auto& in, auto* out) {
                      return ExplainStorageBody(environment_.store(), in, out);
                    });
}

grpc::ServerUnaryReactor* ModelsService::RepackModel(grpc::CallbackServerContext* context,
                                                     const v1::RepackModelRequest* request,
                                                     v1::RepackModelResponse* response) {
  return ServeUnary(
      environment_, "Models.RepackModel", context, request, response,
      [this](const auto& in, auto* out) { return RepackModelBody(environment_.store(), in, out); });
}

grpc::ServerUnaryReactor* ModelsService::SetTag(grpc::CallbackServerContext* context,
                                                const v1::SetTagRequest* request,
                                                v1::Tag* response) {
  return ServeUnary(
      environment_, "Models.SetTag", context, request, response,
      [this, context](const auto& in, auto* out, const RpcCall& call) -> absl::Status {
        WDELTA_ASSIGN_OR_RETURN(const std::string author, AuthorOf(in.author(), call, *context));
        WDELTA_ASSIGN_OR_RETURN(const Tag tag, environment_.store().models().SetTag(
                                                   in.name(), in.tag(), in.model(), author));
        *out = ToProto(tag);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModelsService::DeleteTag(grpc::CallbackServerContext* context,
                                                   const v1::DeleteTagRequest* request,
                                                   google::protobuf::Empty* response) {
  return ServeUnary(environment_, "Models.DeleteTag", context, request, response,
                    [this, context](const auto& in, auto*, const RpcCall& call) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(const std::string author,
                                              AuthorOf(in.author(), call, *context));
                      return environment_.store().models().DeleteTag(in.name(), in.tag(), author);
                    });
}

grpc::ServerUnaryReactor* ModelsService::ListTags(grpc::CallbackServerContext* context,
                                                  const v1::ListTagsRequest* request,
                                                  v1::ListTagsResponse* response) {
  return ServeUnary(environment_, "Models.ListTags", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return ListTagsBody(environment_.store(), in, out, call.name_check());
                    });
}

grpc::ServerUnaryReactor* ModelsService::ListTagHistory(grpc::CallbackServerContext* context,
                                                        const v1::ListTagHistoryRequest* request,
                                                        v1::ListTagHistoryResponse* response) {
  return ServeUnary(environment_, "Models.ListTagHistory", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return ListTagHistoryBody(environment_.store(), in, out, call.name_check());
                    });
}

}  // namespace wdelta
