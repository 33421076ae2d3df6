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
#include "server/rpc/own_page.h"
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

std::string TextOf(const std::string& start_id, const Found& last) {
  return absl::StrCat(start_id, "/", last.at.depth, "/", last.at.is_descendant ? 1 : 0, "/",
                      last.node.id);
}

// The page behind a position, which may be empty.
absl::StatusOr<Page<Found>> WalkFrom(ModelStore& store, const std::string& start_id,
                                     WalkQuery query, const std::string& position) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> parts, SplitPosition(position, 4));
  if (!parts.empty()) {
    WDELTA_ASSIGN_OR_RETURN(query.after, WalkPositionOf(parts));
  }
  Page<Found> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(query.start, IndexOf(graph, start_id));
    const WalkPage page = Walk(graph, query);
    for (const WalkedNode& node : page.nodes) {
      found.items.push_back({FoundAt(graph, node.index), node});
    }
    if (page.has_more) found.next = TextOf(start_id, found.items.back());
    return absl::OkStatus();
  }));
  return found;
}

// A model that a call begins with: of its request, or on later pages of a position.
absl::StatusOr<Model> ResolveFirst(Models& models, const std::string& reference,
                                   const std::string* id_of_position, const NameCheck& check_name) {
  if (id_of_position == nullptr) return models.Resolve(reference);
  const std::string by_id = IdReference(*id_of_position);
  WDELTA_ASSIGN_OR_RETURN(Model model, models.Resolve(by_id));
  WDELTA_RETURN_IF_ERROR(CheckFound(check_name, by_id, model.record.name()));
  return model;
}

// At most `page_size` of `list(graph, after, limit)`, which is in order of id.
absl::StatusOr<Page<FoundNode>> ListNodes(ModelStore& store, absl::string_view after,
                                          size_t page_size,
                                          absl::FunctionRef<absl::StatusOr<std::vector<Index>>(
                                              const LineageGraph&, absl::string_view, size_t)>
                                              list) {
  Page<FoundNode> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const std::vector<Index> nodes, list(graph, after, page_size + 1));
    for (const Index index : nodes) found.items.push_back(FoundAt(graph, index));
    return absl::OkStatus();
  }));
  if (found.items.size() <= page_size) return found;
  found.items.pop_back();
  found.next = found.items.back().id;
  return found;
}

// Lists in order of id, whose positions are the last id.
template <typename Request, typename Response>
absl::Status AnswerList(ModelStore& store, const Request& request, Response* response,
                        const NameCheck& check_name,
                        absl::FunctionRef<absl::StatusOr<std::vector<Index>>(
                            const LineageGraph&, absl::string_view, size_t)>
                            list) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  const uint32_t page_size = EffectivePageSize(request.page_size());
  WDELTA_ASSIGN_OR_RETURN(const Page<FoundNode> page,
                          OwnPage(
                              check_name, after, page_size,
                              [&](const std::string& from, uint32_t limit) {
                                return ListNodes(store, from, limit, list);
                              },
                              [](const FoundNode& node) { return node.name; },
                              [](const FoundNode& node) { return node.id; }));
  for (const FoundNode& node : page.items) {
    WDELTA_ASSIGN_OR_RETURN(*response->add_nodes(), ToLineageNode(store.models(), node));
  }
  response->set_next_page_token(EncodePageToken(filters, page.next));
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
                                                    const std::vector<std::string>& position,
                                                    const NameCheck& check_name) {
  std::vector<std::string> ids;
  for (int i = 0; i < request.models_size(); ++i) {
    const std::string* const id = position.empty() ? nullptr : &position[static_cast<size_t>(i)];
    WDELTA_ASSIGN_OR_RETURN(const Model model,
                            ResolveFirst(models, request.models(i), id, check_name));
    ids.push_back(model.record.id());
  }
  return ids;
}

}  // namespace

absl::Status Answer(ModelStore& store, const v1::TraverseRequest& request,
                    v1::TraverseResponse* response, const NameCheck& check_name) {
  WDELTA_ASSIGN_OR_RETURN(const WalkDirection direction, DirectionFromProto(request.direction()));
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> position, SplitPosition(token, 4));
  WalkQuery query;
  query.direction = direction;
  if (request.max_depth() > 0) query.max_depth = request.max_depth();
  WDELTA_ASSIGN_OR_RETURN(const Model start,
                          ResolveFirst(store.models(), request.model(),
                                       position.empty() ? nullptr : &position[0], check_name));
  const std::string& start_id = start.record.id();
  WDELTA_ASSIGN_OR_RETURN(const Page<Found> page,
                          OwnPage(
                              check_name, token, EffectivePageSize(request.page_size()),
                              [&](const std::string& from, uint32_t limit) {
                                query.limit = limit;
                                return WalkFrom(store, start_id, query, from);
                              },
                              [](const Found& found) { return found.node.name; },
                              [&](const Found& found) { return TextOf(start_id, found); }));
  for (const Found& each : page.items) {
    WDELTA_ASSIGN_OR_RETURN(v1::LineageNode node, ToLineageNode(store.models(), each.node));
    node.set_depth(each.at.depth);
    node.set_direction(each.at.is_descendant ? Traversal::DESCENDANTS : Traversal::ANCESTORS);
    if (each.at.depth == 0) node.set_direction(request.direction());
    *response->add_nodes() = std::move(node);
  }
  response->set_next_page_token(EncodePageToken(filters, page.next));
  return absl::OkStatus();
}

absl::Status Answer(ModelStore& store, const v1::ListRootsRequest& request,
                    v1::ListRootsResponse* response, const NameCheck& check_name) {
  return AnswerList(store, request, response, check_name,
                    [](const LineageGraph& graph, absl::string_view after, size_t limit) {
                      return graph.Roots(after, limit);
                    });
}

absl::Status Answer(ModelStore& store, const v1::ListLeavesRequest& request,
                    v1::ListLeavesResponse* response, const NameCheck& check_name) {
  return AnswerList(store, request, response, check_name,
                    [](const LineageGraph& graph, absl::string_view after, size_t limit) {
                      return graph.Leaves(after, limit);
                    });
}

absl::Status Answer(ModelStore& store, const v1::ListChildrenRequest& request,
                    v1::ListChildrenResponse* response, const NameCheck& check_name) {
  // Positions: `<parent id>/<last id>`.
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> position, SplitPosition(token, 2));
  WDELTA_ASSIGN_OR_RETURN(const Model parent,
                          ResolveFirst(store.models(), request.model(),
                                       position.empty() ? nullptr : &position[0], check_name));
  const auto list = [&](const LineageGraph& graph, absl::string_view after,
                        size_t limit) -> absl::StatusOr<std::vector<Index>> {
    WDELTA_ASSIGN_OR_RETURN(const Index index, IndexOf(graph, parent.record.id()));
    return graph.Children(index, after, limit);
  };
  const uint32_t page_size = EffectivePageSize(request.page_size());
  WDELTA_ASSIGN_OR_RETURN(const Page<FoundNode> page,
                          OwnPage(
                              check_name, position.empty() ? "" : position[1], page_size,
                              [&](const std::string& from, uint32_t limit) {
                                return ListNodes(store, from, limit, list);
                              },
                              [](const FoundNode& node) { return node.name; },
                              [](const FoundNode& node) { return node.id; }));
  for (const FoundNode& child : page.items) {
    WDELTA_ASSIGN_OR_RETURN(v1::LineageNode node, ToLineageNode(store.models(), child));
    node.set_depth(1);
    node.set_direction(Traversal::DESCENDANTS);
    *response->add_nodes() = std::move(node);
  }
  if (!page.next.empty()) {
    response->set_next_page_token(
        EncodePageToken(filters, absl::StrCat(parent.record.id(), "/", page.next)));
  }
  return absl::OkStatus();
}

absl::Status Answer(ModelStore& store, const v1::CommonAncestorsRequest& request,
                    v1::CommonAncestorsResponse* response, const NameCheck& check_name) {
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
                          ResolveAll(store.models(), request, position, check_name));
  const size_t end = begin + EffectivePageSize(request.page_size());
  bool has_more = false;
  std::vector<std::pair<FoundNode, std::vector<uint32_t>>> found;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    std::vector<Index> models;
    for (const std::string& id : ids) {
      WDELTA_ASSIGN_OR_RETURN(models.emplace_back(), IndexOf(graph, id));
    }
    std::vector<CommonAncestor> lowest = LowestCommonAncestors(graph, models);
    // Nor does their number tell of models that the caller may not name.
    lowest.erase(std::remove_if(lowest.begin(), lowest.end(),
                                [&](const CommonAncestor& each) {
                                  return !MayName(check_name, FoundAt(graph, each.index).name);
                                }),
                 lowest.end());
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
