#include <cstdlib>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/commands.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"
#include "storage/lineage/ascii_graph.h"
#include "storage/lineage/lineage.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta log\n"
    "  wdelta log qwen-wiki\n";

struct Arguments {
  std::string model;
  bool ascii = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "Only its ancestors and descendants");
  command.add_flag("--ascii", arguments.ascii, "Draw with ASCII characters only");
}

bool TerminalIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string locale = absl::AsciiStrToLower(value);
    return absl::StrContains(locale, "utf-8") || absl::StrContains(locale, "utf8");
  }
  return false;
}

absl::StatusOr<std::vector<v1::LineageNode>> FetchNodes(Client& client, const std::string& model) {
  if (!model.empty()) return client.Traverse(model, v1::TraverseRequest::BOTH).All();
  WDELTA_ASSIGN_OR_RETURN(std::vector<v1::Model> models, client.ListModels().All());
  std::vector<v1::LineageNode> nodes(models.size());
  for (size_t i = 0; i < models.size(); ++i) *nodes[i].mutable_model() = std::move(models[i]);
  return nodes;
}

std::string LabelOf(const v1::LineageNode& node, const std::vector<std::string>& tags) {
  const v1::Model& model = node.model();
  std::string label = absl::StrCat(model.name(), "  ", ShortId(model.id()));
  if (node.deleted()) return Printable(absl::StrCat(label, "  (deleted)"));
  if (!tags.empty()) absl::StrAppend(&label, "  [", absl::StrJoin(tags, ", "), "]");
  absl::StrAppend(&label, "  ", HumanBytes(model.raw_bytes()));
  if (model.state() == v1::Model::READY) {
    absl::StrAppend(&label, " -> ", HumanBytes(model.stored_bytes()), " (",
                    HumanRatio(model.raw_bytes(), model.stored_bytes()), ")");
  } else {
    absl::StrAppend(&label, "  ", StateWord(model.state()));
  }
  return Printable(label);
}

absl::StatusOr<std::string> Draw(const std::vector<v1::LineageNode>& nodes,
                                 const std::map<std::string, std::vector<std::string>>& tags,
                                 GraphGlyphs glyphs) {
  std::vector<GraphNode> unordered;
  std::vector<LineageNode> edges;
  for (const v1::LineageNode& node : nodes) {
    const v1::Model& model = node.model();
    std::vector<std::string> parents;
    for (const v1::Parent& parent : model.parents()) {
      parents.emplace_back(absl::StripPrefix(parent.model(), "id:"));
    }
    const auto tagged = tags.find(model.id());
    const std::vector<std::string> no_tags;
    edges.push_back({model.id(), parents});
    unordered.push_back({.id = model.id(),
                         .label = LabelOf(node, tagged == tags.end() ? no_tags : tagged->second),
                         .parents = std::move(parents)});
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<size_t> order, TopologicalOrder(edges));
  std::vector<GraphNode> ordered;
  for (const size_t index : order) ordered.push_back(std::move(unordered[index]));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> lines, DrawGraph(ordered, glyphs));
  return absl::StrJoin(lines, "", [](std::string* out, const std::string& line) {
    absl::StrAppend(out, line, "\n");
  });
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::LineageNode> nodes,
                          FetchNodes(*client, arguments.model));
  if (session.is_json()) {
    Json json = Json::array();
    for (const v1::LineageNode& node : nodes) json.push_back(LineageNodeJson(node));
    session.PrintJson(json);
    return absl::OkStatus();
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Tag> tags, client->ListTags().All());
  std::map<std::string, std::vector<std::string>> tags_by_model;
  for (const v1::Tag& tag : tags) {
    tags_by_model[std::string(absl::StripPrefix(tag.model(), "id:"))].push_back(
        absl::StrCat(tag.name(), "@", tag.tag()));
  }
  const bool is_unicode = !arguments.ascii && TerminalIsUtf8();
  WDELTA_ASSIGN_OR_RETURN(
      const std::string drawing,
      Draw(nodes, tags_by_model, is_unicode ? GraphGlyphs::kUnicode : GraphGlyphs::kAscii));
  session.Print(drawing);
  return absl::OkStatus();
}

}  // namespace

void AddLogCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "log", "Draw what was made from what", kExamples, Add, Run);
}

}  // namespace wdelta
