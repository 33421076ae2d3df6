// Models and what they were made from, in memory, for walks that must be fast.
//
// A deleted model is part of the lineage for as long as a live model descends from it;
// until then it is visible, and marked as deleted. A parent that only its children
// know counts as deleted. Edges are taken as they come: walks end on cycles too.
//
// Either any number of threads read, or one writes.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace wdelta {

class LineageGraph {
 public:
  // Names a node until the next write.
  using Index = uint32_t;

  struct ParentName {
    std::string id;
    std::string name;  // as the child knows it
  };
  struct Model {
    std::string id;
    std::string name;
    std::vector<ParentName> parents;  // as declared
    bool is_deleted = false;
  };
  struct Node {
    std::string id;
    std::string name;
    std::vector<Index> parents;   // as declared, each once
    std::vector<Index> children;  // in order of id; invisible ones too
    uint64_t rank = 0;            // ascends with the id
    uint32_t visible_child_count = 0;
    bool is_known = false;  // false: only named by children
    bool is_live = false;   // known and not deleted
    bool is_visible = false;
  };

  LineageGraph() = default;
  LineageGraph(LineageGraph&&) = default;
  LineageGraph& operator=(LineageGraph&&) = default;

  // Adds a model or replaces what is known of it.
  void Put(const Model& model);
  // Forgets a model; it stays as a name while it has children. Absence is fine.
  void Erase(absl::string_view id);

  // Of a visible node.
  std::optional<Index> Find(absl::string_view id) const;
  const Node& node(Index index) const { return nodes_[index]; }
  // Above every index: the length of a table by index.
  size_t index_end() const { return nodes_.size(); }
  size_t visible_count() const { return visible_count_; }

  // The least rank that a node with a greater id has or would get: nodes with at least
  // this rank have greater ids, those below have not.
  uint64_t RankAfter(absl::string_view id) const;
  // The greatest id of all nodes; empty: no nodes.
  absl::string_view LastId() const;

  // Visible nodes without parents, without visible children, and the visible children
  // of one: in order of id, behind `after_id` (empty: from the first), at most `limit`.
  std::vector<Index> Roots(absl::string_view after_id, size_t limit) const;
  std::vector<Index> Leaves(absl::string_view after_id, size_t limit) const;
  std::vector<Index> Children(Index parent, absl::string_view after_id, size_t limit) const;

 private:
  // Keys are the nodes' own ids, which do not move.
  using OrderedNodes = absl::btree_map<absl::string_view, Index>;

  Index FindOrAdd(const std::string& id, const std::string& name);
  void GiveRank(Index index);
  void Remove(Index index);
  void Unlink(Index child);
  void Link(Index child, const std::vector<ParentName>& parents);
  bool HasParents(Index child, const std::vector<ParentName>& parents) const;
  // Makes what follows from a node's state and children true, up to the roots.
  void Settle(Index index);
  void SettleMembership(Index index);
  static std::vector<Index> After(const OrderedNodes& nodes, absl::string_view after_id,
                                  size_t limit);

  std::deque<Node> nodes_;  // a deque, so that ids do not move
  std::vector<Index> free_;
  absl::flat_hash_map<absl::string_view, Index> index_by_id_;
  std::vector<Index> order_;  // all nodes by id
  OrderedNodes roots_;
  OrderedNodes leaves_;
  size_t visible_count_ = 0;
};

}  // namespace wdelta
