// Lineage.FindPath.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "server/rpc/lineage_nodes.h"
#include "server/rpc/lineage_queries.h"
#include "server/rpc/page_token.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/lineage/lineage_path.h"

namespace wdelta {
namespace {

using Index = LineageGraph::Index;
using Request = v1::FindPathRequest;

// A page goes on behind a step of the path among the models that were there when the
// path began.
struct Position {
  std::string from_id;
  std::string to_id;
  std::string newest_id;    // of those models; empty: all
  uint32_t length = 0;      // steps of the whole path
  uint32_t step_count = 0;  // that went before
  std::string last_id;      // of these
};

absl::StatusOr<Position> ParsePosition(const std::string& token) {
  Position position;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> parts, SplitPosition(token, 6));
  if (parts.empty()) return position;
  position = {parts[0], parts[1], parts[2], 0, 0, parts[5]};
  WDELTA_ASSIGN_OR_RETURN(position.length, NumberOfPosition(parts[3]));
  WDELTA_ASSIGN_OR_RETURN(position.step_count, NumberOfPosition(parts[4]));
  if (position.step_count == 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PAGE_TOKEN", "page_token: damaged");
  }
  return position;
}

std::string TextOf(const Position& position) {
  return absl::StrCat(position.from_id, "/", position.to_id, "/", position.newest_id, "/",
                      position.length, "/", position.step_count, "/", position.last_id);
}

std::vector<Index> PathOf(const LineageGraph& graph, Request::Edges edges, Index from, Index to,
                          uint64_t end_rank) {
  if (edges != Request::ANY) {
    std::vector<Index> path = ShortestPath(graph, from, to, PathEdges::kAncestry, end_rank);
    if (!path.empty() || edges == Request::ANCESTRY) return path;
  }
  return ShortestPath(graph, from, to, PathEdges::kAny, end_rank);
}

struct FoundStep {
  FoundNode node;
  bool is_to_parent = false;  // from the step before
};

// The steps of a page, with the step before it if there is one; fills in the position.
absl::StatusOr<std::vector<FoundStep>> FindSteps(const LineageGraph& graph, Request::Edges edges,
                                                 size_t page_size, Position& position) {
  WDELTA_ASSIGN_OR_RETURN(const Index from, IndexOf(graph, position.from_id));
  WDELTA_ASSIGN_OR_RETURN(const Index to, IndexOf(graph, position.to_id));
  if (position.newest_id.empty()) position.newest_id = std::string(graph.LastId());
  const std::vector<Index> path =
      PathOf(graph, edges, from, to, graph.RankAfter(position.newest_id));
  const size_t begin = position.step_count;
  if (begin > 0 && (path.size() != position.length || path.size() <= begin ||
                    graph.node(path[begin - 1]).id != position.last_id)) {
    return MakeError(absl::StatusCode::kAborted, "PATH_CHANGED",
                     "a model of the path is gone; begin with the first page");
  }
  std::vector<FoundStep> found;
  position.length = static_cast<uint32_t>(path.size());
  const size_t end = std::min(begin + page_size, path.size());
  for (size_t i = begin == 0 ? 0 : begin - 1; i < end; ++i) {
    FoundStep step{FoundAt(graph, path[i])};
    if (i > 0) {
      const std::vector<Index>& parents = graph.node(path[i - 1]).parents;
      step.is_to_parent = std::find(parents.begin(), parents.end(), path[i]) != parents.end();
    }
    found.push_back(std::move(step));
  }
  return found;
}

// The steps as messages, but for the depth.
absl::StatusOr<std::vector<v1::PathStep>> ToSteps(Models& models,
                                                  const std::vector<FoundStep>& steps) {
  std::vector<v1::PathStep> out;
  std::optional<Model> before;
  for (size_t i = 0; i < steps.size(); ++i) {
    const FoundNode& node = steps[i].node;
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model, models.GetById(node.id));
    v1::PathStep& step = out.emplace_back();
    *step.mutable_node() = ToLineageNode(node, model);
    if (i > 0 && steps[i].is_to_parent) {
      step.set_hop(v1::PathStep::TO_PARENT);
      *step.mutable_edge() = EdgeTo(before, node.id);
    } else if (i > 0) {
      step.set_hop(v1::PathStep::TO_CHILD);
      *step.mutable_edge() = EdgeTo(model, steps[i - 1].node.id);
    }
    before = std::move(model);
  }
  return out;
}

}  // namespace

absl::Status Answer(ModelStore& store, const v1::FindPathRequest& request,
                    v1::FindPathResponse* response, const NameCheck& check_name) {
  if (!Request::Edges_IsValid(request.edges())) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_EDGES",
                     absl::StrCat("edges: expected ANCESTRY, ANY or nothing, found ",
                                  static_cast<int>(request.edges())));
  }
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string token, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(Position position, ParsePosition(token));
  Models& models = store.models();
  WDELTA_ASSIGN_OR_RETURN(
      const Model from,
      models.Resolve(token.empty() ? request.from() : IdReference(position.from_id)));
  WDELTA_ASSIGN_OR_RETURN(
      const Model to, models.Resolve(token.empty() ? request.to() : IdReference(position.to_id)));
  // A page token may be made up.
  for (const Model* const end : {&from, &to}) {
    WDELTA_RETURN_IF_ERROR(
        CheckFound(check_name, IdReference(end->record.id()), end->record.name()));
  }
  position.from_id = from.record.id();
  position.to_id = to.record.id();
  std::vector<FoundStep> steps;
  WDELTA_RETURN_IF_ERROR(store.lineage().View([&](const LineageGraph& graph) -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(
        steps, FindSteps(graph, request.edges(), EffectivePageSize(request.page_size()), position));
    return absl::OkStatus();
  }));
  if (position.length == 0) {
    return MakeError(absl::StatusCode::kNotFound, "NO_PATH",
                     absl::StrCat("no path from '", request.from(), "' to '", request.to(), "'"));
  }
  response->set_edge_count(position.length - 1);
  WDELTA_ASSIGN_OR_RETURN(std::vector<v1::PathStep> found, ToSteps(models, steps));
  for (size_t i = position.step_count == 0 ? 0 : 1; i < found.size(); ++i) {
    *response->add_steps() = std::move(found[i]);
  }
  for (v1::PathStep& step : *response->mutable_steps()) {
    step.mutable_node()->set_depth(position.step_count++);
  }
  if (position.step_count < position.length) {
    position.last_id = steps.back().node.id;
    response->set_next_page_token(EncodePageToken(filters, TextOf(position)));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
