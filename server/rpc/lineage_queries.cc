#include "server/rpc/lineage_queries.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/rpc/convert.h"
#include "server/rpc/lineage_nodes.h"
#include "server/rpc/page_token.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/lineage/common_ancestors.h"
#include "storage/lineage/lineage_walk.h"

namespace wdelta {
namespace {

using Index = LineageGraph::Index;
using Traversal = v1::TraverseRequest;

struct Found {
  FoundNode node;
  WalkedNode at;
};

absl::StatusOr<WalkDirection> DirectionFromProto(Traversal::Direction direction) {
  switch (direction) {
    case Traversal::ANCESTORS:
      return WalkDirection::kAncestors;
    case Traversal::DESCENDANTS:
      return WalkDirection::kDescendants;
    case Traversal::BOTH:
      return WalkDirection::kBoth;
    default:
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_DIRECTION",
                       absl::StrCat("direction: expected ANCESTORS, DESCENDANTS or BOTH, found ",
                                    static_cast<int>(direction)));
  }
}

// Positions of walks: `<start id>/<depth>/<1: descendant>/<id>`.
absl::StatusOr<WalkPosition> WalkPositionOf(const std::vector<std::string>& parts) {
  WDELTA_ASSIGN_OR_RETURN(const uint32_t depth, NumberOfPosition(parts[1]));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t is_descendant, NumberOfPosition(parts[2]));
  return WalkPosition{depth, is_descendant != 0, parts[3]};
}

absl::StatusOr<std::vector<Found>> WalkFrom(ModelStore& store, const std::string& start_id,
                                            WalkQuery query, bool& has_more) {
  std::vector<Found> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(query.start, IndexOf(graph, start_id));
    const WalkPage page = Walk(graph, query);
    has_more = page.has_more;
    for (const WalkedNode& node : page.nodes) found.push_back({FoundAt(graph, node.index), node});
    return absl::OkStatus();
  }));
  return found;
}

// Lists in order of id, whose positions are the last id.
template <typename Request, typename Response>
absl::Status AnswerList(
    ModelStore& store, const Request& request, Response* response,
    absl::FunctionRef<std::vector<Index>(const LineageGraph&, absl::string_view, size_t)> list) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  const size_t page_size = EffectivePageSize(request.page_size());
  std::vector<FoundNode> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) {
    for (const Index index : list(graph, after, page_size + 1)) {
      found.push_back(FoundAt(graph, index));
    }
    return absl::OkStatus();
  }));
  const bool has_more = found.size() > page_size;
  if (has_more) found.pop_back();
  for (const FoundNode& node : found) {
    WDELTA_ASSIGN_OR_RETURN(*response->add_nodes(), ToLineageNode(store.models(), node));
  }
  if (has_more) response->set_next_page_token(EncodePageToken(filters, found.back().id));
  return absl::OkStatus();
}

absl::Status CheckModelCount(int count) {
  if (count >= 2 && count <= limits::kMaxModelsOfCommonAncestors) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_MODEL_COUNT",
                   absl::StrCat("models: expected 2 to ", limits::kMaxModelsOfCommonAncestors,
                                ", found ", count));
}

// Of the references, or on later pages of a position that begins with them.
absl::StatusOr<std::vector<std::string>> ResolveAll(Models& models,
                                                    const v1::CommonAncestorsRequest& request,
                                                    const std::vector<std::string>& position) {
  std::vector<std::string> ids;
  for (int i = 0; i < request.models_size(); ++i) {
    const std::string reference =
        position.empty() ? request.models(i) : IdReference(position[static_cast<size_t>(i)]);
    WDELTA_ASSIGN_OR_RETURN(const Model model, models.Resolve(reference));
    ids.push_back(model.record.id());
  }
  return ids;
}

}  // namespace

absl::Status Answer(ModelStore& store, const v1::TraverseRequest& request,
                    v1::TraverseResponse* response) {
  WDELTA_ASSIGN_OR_RETURN(const WalkDirection direction, DirectionFromProto(request.direction()));
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> position, SplitPosition(token, 4));
  WalkQuery query;
  query.direction = direction;
  query.limit = EffectivePageSize(request.page_size());
  if (request.max_depth() > 0) query.max_depth = request.max_depth();
  if (!position.empty()) {
    WDELTA_ASSIGN_OR_RETURN(query.after, WalkPositionOf(position));
  }
  WDELTA_ASSIGN_OR_RETURN(
      const Model start,
      store.models().Resolve(position.empty() ? request.model() : IdReference(position[0])));
  bool has_more = false;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<Found> found,
                          WalkFrom(store, start.record.id(), std::move(query), has_more));
  for (const Found& each : found) {
    WDELTA_ASSIGN_OR_RETURN(v1::LineageNode node, ToLineageNode(store.models(), each.node));
    node.set_depth(each.at.depth);
    node.set_direction(each.at.is_descendant ? Traversal::DESCENDANTS : Traversal::ANCESTORS);
    if (each.at.depth == 0) node.set_direction(request.direction());
    *response->add_nodes() = std::move(node);
  }
  if (has_more) {
    const Found& last = found.back();
    response->set_next_page_token(
        EncodePageToken(filters, absl::StrCat(start.record.id(), "/", last.at.depth, "/",
                                              last.at.is_descendant ? 1 : 0, "/", last.node.id)));
  }
  return absl::OkStatus();
}

absl::Status Answer(ModelStore& store, const v1::ListRootsRequest& request,
                    v1::ListRootsResponse* response) {
  return AnswerList(store, request, response,
                    [](const LineageGraph& graph, absl::string_view after, size_t limit) {
                      return graph.Roots(after, limit);
                    });
}

absl::Status Answer(ModelStore& store, const v1::ListLeavesRequest& request,
                    v1::ListLeavesResponse* response) {
  return AnswerList(store, request, response,
                    [](const LineageGraph& graph, absl::string_view after, size_t limit) {
                      return graph.Leaves(after, limit);
                    });
}

absl::Status Answer(ModelStore& store, const v1::ListChildrenRequest& request,
                    v1::ListChildrenResponse* response) {
  // Positions: `<parent id>/<last id>`.
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> position, SplitPosition(token, 2));
  WDELTA_ASSIGN_OR_RETURN(
      const Model parent,
      store.models().Resolve(position.empty() ? request.model() : IdReference(position[0])));
  const std::string after = position.empty() ? "" : position[1];
  const size_t page_size = EffectivePageSize(request.page_size());
  std::vector<FoundNode> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const Index index, IndexOf(graph, parent.record.id()));
    for (const Index child : graph.Children(index, after, page_size + 1)) {
      found.push_back(FoundAt(graph, child));
    }
    return absl::OkStatus();
  }));
  const bool has_more = found.size() > page_size;
  if (has_more) found.pop_back();
  for (const FoundNode& child : found) {
    WDELTA_ASSIGN_OR_RETURN(v1::LineageNode node, ToLineageNode(store.models(), child));
    node.set_depth(1);
    node.set_direction(Traversal::DESCENDANTS);
    *response->add_nodes() = std::move(node);
  }
  if (has_more) {
    response->set_next_page_token(
        EncodePageToken(filters, absl::StrCat(parent.record.id(), "/", found.back().id)));
  }
  return absl::OkStatus();
}

absl::Status Answer(ModelStore& store, const v1::CommonAncestorsRequest& request,
                    v1::CommonAncestorsResponse* response) {
  WDELTA_RETURN_IF_ERROR(CheckModelCount(request.models_size()));
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  // Positions: the models' ids, then how many ancestors went before. Their order stays.
  const auto model_count = static_cast<size_t>(request.models_size());
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> position,
                          SplitPosition(token, model_count + 1));
  uint32_t begin = 0;
  if (!position.empty()) {
    WDELTA_ASSIGN_OR_RETURN(begin, NumberOfPosition(position.back()));
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          ResolveAll(store.models(), request, position));
  const size_t end = begin + EffectivePageSize(request.page_size());
  bool has_more = false;
  std::vector<std::pair<FoundNode, std::vector<uint32_t>>> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    std::vector<Index> models;
    for (const std::string& id : ids) {
      WDELTA_ASSIGN_OR_RETURN(models.emplace_back(), IndexOf(graph, id));
    }
    const std::vector<CommonAncestor> lowest = LowestCommonAncestors(graph, models);
    has_more = lowest.size() > end;
    for (size_t i = begin; i < std::min(end, lowest.size()); ++i) {
      found.emplace_back(FoundAt(graph, lowest[i].index), lowest[i].depths);
    }
    return absl::OkStatus();
  }));
  for (const auto& [ancestor, depths] : found) {
    v1::CommonAncestor* const added = response->add_ancestors();
    WDELTA_ASSIGN_OR_RETURN(*added->mutable_node(), ToLineageNode(store.models(), ancestor));
    added->mutable_node()->set_depth(*std::max_element(depths.begin(), depths.end()));
    added->mutable_node()->set_direction(Traversal::ANCESTORS);
    added->mutable_depths()->Add(depths.begin(), depths.end());
  }
  if (has_more) {
    response->set_next_page_token(
        EncodePageToken(filters, absl::StrCat(absl::StrJoin(ids, "/"), "/", end)));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
