#include "server/rpc/lineage_service.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "server/rpc/page_token.h"
#include "server/rpc/unary.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/lineage/lineage.h"

namespace wdelta {
namespace {

using Request = v1::TraverseRequest;

struct Visit {
  LineageStep step;
  Request::Direction direction;
};

// A page goes on at a position in the walk, which is the same for the same graph.
struct Position {
  std::string start_id;
  uint64_t visits = 0;
};

absl::StatusOr<std::optional<Position>> ParsePosition(const std::string& text) {
  if (text.empty()) return std::optional<Position>();
  const size_t slash = text.find('/');
  Position position{text.substr(0, slash), 0};
  if (slash == std::string::npos || !absl::SimpleAtoi(text.substr(slash + 1), &position.visits) ||
      position.visits > limits::kMaxLineageVisits) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PAGE_TOKEN", "page_token: damaged");
  }
  return std::optional<Position>(std::move(position));
}

class Walker {
 public:
  explicit Walker(Models* models) : models_(*models) {}

  // The first `max_visits` of the walk, nearest first.
  absl::StatusOr<std::vector<Visit>> Walk(const std::string& start, const Request& request,
                                          uint64_t max_visits) {
    const uint32_t max_depth = request.max_depth() == 0 ? UINT32_MAX : request.max_depth();
    std::vector<Visit> visits;
    if (request.direction() != Request::DESCENDANTS) {
      const auto parents_of = [this](const std::string& id) { return ParentsOf(id); };
      WDELTA_ASSIGN_OR_RETURN(const LineageWalk walk,
                              wdelta::Traverse({start}, parents_of, max_depth, max_visits));
      Append(walk, Request::ANCESTORS, visits);
    }
    if (request.direction() != Request::ANCESTORS) {
      const auto children_of = [this](const std::string& id) { return models_.Children(id); };
      WDELTA_ASSIGN_OR_RETURN(const LineageWalk walk,
                              wdelta::Traverse({start}, children_of, max_depth, max_visits));
      Append(walk, Request::DESCENDANTS, visits);
    }
    std::stable_sort(visits.begin(), visits.end(),
                     [](const Visit& a, const Visit& b) { return a.step.depth < b.step.depth; });
    visits.front().direction = request.direction();
    if (visits.size() > max_visits) visits.resize(max_visits);
    return visits;
  }

  absl::StatusOr<v1::LineageNode> NodeOf(const Visit& visit) {
    v1::LineageNode node;
    node.set_depth(visit.step.depth);
    node.set_direction(visit.direction);
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models_.GetById(visit.step.id));
    node.set_deleted(!model.has_value() ||
                     model->record.state() == store::v1::ModelRecord::DELETED);
    if (!model.has_value()) {
      node.mutable_model()->set_id(visit.step.id);
      node.mutable_model()->set_name(names_[visit.step.id]);
    } else {
      *node.mutable_model() =
          node.deleted() ? TombstoneToProto(*model) : ToProto(*model, FileList::kOmit);
    }
    return node;
  }

 private:
  // The start is in both walks; it is kept once.
  static void Append(const LineageWalk& walk, Request::Direction direction,
                     std::vector<Visit>& visits) {
    for (const LineageStep& step : walk.steps) {
      if (step.depth > 0 || visits.empty()) visits.push_back({step, direction});
    }
  }

  absl::StatusOr<std::vector<std::string>> ParentsOf(const std::string& id) {
    std::vector<std::string> parents;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models_.GetById(id));
    if (!model.has_value()) return parents;
    for (const store::v1::ParentEdge& edge : model->record.parents()) {
      parents.push_back(edge.model_id());
      names_[edge.model_id()] = edge.name();
    }
    return parents;
  }

  Models& models_;
  // What children call their parents, for parents that are gone.
  absl::flat_hash_map<std::string, std::string> names_;
};

absl::Status TraverseBody(Models& models, const Request& request, v1::TraverseResponse* response) {
  if (request.direction() == Request::DIRECTION_UNSPECIFIED ||
      !Request::Direction_IsValid(request.direction())) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_DIRECTION",
                     absl::StrCat("direction: expected ANCESTORS, DESCENDANTS or BOTH, found ",
                                  static_cast<int>(request.direction())));
  }
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Position> position, ParsePosition(token));
  const std::string reference =
      position.has_value() ? IdReference(position->start_id) : request.model();
  const uint64_t begin = position.has_value() ? position->visits : 0;
  WDELTA_ASSIGN_OR_RETURN(const Model start, models.Resolve(reference));
  const uint64_t end = begin + EffectivePageSize(request.page_size());
  Walker walker(&models);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<Visit> visits,
                          walker.Walk(start.record.id(), request, end + 1));
  for (uint64_t i = begin; i < std::min<uint64_t>(end, visits.size()); ++i) {
    WDELTA_ASSIGN_OR_RETURN(*response->add_nodes(), walker.NodeOf(visits[i]));
  }
  if (visits.size() > end) {
    response->set_next_page_token(
        EncodePageToken(filters, absl::StrCat(start.record.id(), "/", end)));
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* LineageService::Traverse(grpc::CallbackServerContext* context,
                                                   const v1::TraverseRequest* request,
                                                   v1::TraverseResponse* response) {
  return ServeUnary(environment_, "Lineage.Traverse", context, request, response,
                    [this](const auto& in, auto* out) {
                      return TraverseBody(environment_.store().models(), in, out);
                    });
}

}  // namespace wdelta
