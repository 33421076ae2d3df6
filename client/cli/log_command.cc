#include <cstdlib>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/commands.h"
#include "client/cli/lineage_text.h"
#include "client/cli/model_table.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta log\n"
    "  wdelta log qwen-wiki\n"
    "  wdelta log qwen-wiki --ancestors --depth 3\n"
    "  wdelta log --children qwen\n"
    "  wdelta log --common soup qwen-wiki\n"
    "  wdelta log qwen --format dot | dot -Tsvg > qwen.svg\n"
    "A drawing that would be wider than 20 lines beside each other ends some of them and names\n"
    "those parents behind the label: `child  <- parent`.\n";

struct Arguments {
  std::string model;
  bool ancestors = false;
  bool descendants = false;
  uint32_t depth = 0;
  bool roots = false;
  bool leaves = false;
  std::string children;
  std::vector<std::string> common;
  std::string format = "text";
  bool ascii = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  CLI::Option* model =
      command.add_option("MODEL", arguments.model, "Only its ancestors and descendants");
  CLI::Option* ancestors =
      command.add_flag("--ancestors", arguments.ancestors, "Of MODEL, no descendants");
  CLI::Option* descendants =
      command.add_flag("--descendants", arguments.descendants, "Of MODEL, no ancestors");
  ancestors->needs(model);
  descendants->needs(model)->excludes(ancestors);
  command.add_option("--depth", arguments.depth, "At most so many edges from MODEL; 0: all")
      ->needs(model);
  CLI::Option* roots = command.add_flag("--roots", arguments.roots, "List models without parents");
  CLI::Option* leaves =
      command.add_flag("--leaves", arguments.leaves, "List models that nothing was made from");
  CLI::Option* children =
      command.add_option("--children", arguments.children, "List what was made from a model");
  CLI::Option* common = command
                            .add_option("--common", arguments.common,
                                        "List the lowest common ancestors of two models or more")
                            ->expected(2, 16);
  const std::vector<CLI::Option*> kinds = {model, roots, leaves, children, common};
  for (CLI::Option* kind : kinds) {
    for (CLI::Option* other : kinds) {
      if (kind != other) kind->excludes(other);
    }
  }
  command.add_option("--format", arguments.format, "text, dot, mermaid or json")
      ->check(CLI::IsMember({"text", "dot", "mermaid", "json"}))
      ->capture_default_str();
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

// All live models, and the deleted ones that they descend from.
absl::StatusOr<std::vector<v1::LineageNode>> FetchAll(Client& client) {
  WDELTA_ASSIGN_OR_RETURN(std::vector<v1::Model> models, client.ListModels().All());
  std::vector<v1::LineageNode> nodes(models.size());
  absl::flat_hash_map<std::string, size_t> known;
  for (size_t i = 0; i < models.size(); ++i) {
    known.emplace(absl::StrCat("id:", models[i].id()), i);
    *nodes[i].mutable_model() = std::move(models[i]);
  }
  const size_t live_count = nodes.size();
  for (size_t i = 0; i < live_count; ++i) {
    const v1::Model child = nodes[i].model();
    for (const v1::Parent& parent : child.parents()) {
      if (known.contains(parent.model())) continue;
      const auto ancestors =
          client.Traverse(absl::StrCat("id:", child.id()), v1::TraverseRequest::ANCESTORS).All();
      if (absl::IsNotFound(ancestors.status())) break;  // deleted in between
      WDELTA_RETURN_IF_ERROR(ancestors.status());
      for (const v1::LineageNode& ancestor : *ancestors) {
        const std::string id = absl::StrCat("id:", ancestor.model().id());
        if (known.emplace(id, nodes.size()).second) nodes.push_back(ancestor);
      }
      break;
    }
  }
  return nodes;
}

absl::StatusOr<std::vector<v1::LineageNode>> FetchGraph(Client& client,
                                                        const Arguments& arguments) {
  if (arguments.model.empty()) return FetchAll(client);
  const auto direction = arguments.ancestors     ? v1::TraverseRequest::ANCESTORS
                         : arguments.descendants ? v1::TraverseRequest::DESCENDANTS
                                                 : v1::TraverseRequest::BOTH;
  return client.Traverse(arguments.model, direction, arguments.depth).All();
}

absl::StatusOr<TagsByModel> FetchTags(Client& client) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Tag> tags, client.ListTags().All());
  TagsByModel by_model;
  for (const v1::Tag& tag : tags) {
    by_model[std::string(absl::StripPrefix(tag.model(), "id:"))].push_back(
        absl::StrCat(tag.name(), "@", tag.tag()));
  }
  return by_model;
}

absl::Status PrintCommon(Session& session, Client& client, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::CommonAncestor> ancestors,
                          client.CommonAncestors(arguments.common).All());
  if (session.is_json() || arguments.format == "json") {
    Json json = Json::array();
    for (const v1::CommonAncestor& ancestor : ancestors) {
      json.push_back(CommonAncestorJson(ancestor));
    }
    session.PrintJson(json);
    return absl::OkStatus();
  }
  std::vector<Column> columns = {{"NAME"}, {"ID"}, {"STATE"}};
  for (const std::string& model : arguments.common) {
    columns.push_back({absl::StrCat("EDGES FROM ", Printable(model)), Align::kRight});
  }
  Table table(std::move(columns));
  for (const v1::CommonAncestor& ancestor : ancestors) {
    const v1::LineageNode& node = ancestor.node();
    std::vector<std::string> cells = {node.model().name(), ShortId(node.model().id()),
                                      node.deleted() ? "deleted" : StateWord(node.model().state())};
    for (const uint32_t depth : ancestor.depths()) cells.push_back(absl::StrCat(depth));
    table.AddRow(cells);
  }
  session.Print(table.Render());
  return absl::OkStatus();
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  const bool is_json = session.is_json() || arguments.format == "json";
  if (!arguments.common.empty()) {
    if (!is_json && arguments.format != "text") {
      return absl::InvalidArgumentError("--common: expected --format text or json");
    }
    return PrintCommon(session, *client, arguments);
  }
  const bool is_list = arguments.roots || arguments.leaves || !arguments.children.empty();
  absl::StatusOr<std::vector<v1::LineageNode>> nodes;
  if (arguments.roots) {
    nodes = client->ListRoots().All();
  } else if (arguments.leaves) {
    nodes = client->ListLeaves().All();
  } else if (!arguments.children.empty()) {
    nodes = client->ListChildren(arguments.children).All();
  } else {
    nodes = FetchGraph(*client, arguments);
  }
  WDELTA_RETURN_IF_ERROR(nodes.status());
  if (is_json) {
    Json json = Json::array();
    for (const v1::LineageNode& node : *nodes) json.push_back(LineageNodeJson(node));
    session.PrintJson(json);
    return absl::OkStatus();
  }
  WDELTA_ASSIGN_OR_RETURN(const TagsByModel tags, FetchTags(*client));
  if (arguments.format == "dot") {
    session.Print(LineageDot(*nodes, tags));
  } else if (arguments.format == "mermaid") {
    session.Print(LineageMermaid(*nodes, tags));
  } else if (is_list) {
    session.Print(LineageTable(*nodes));
  } else {
    const bool is_unicode = !arguments.ascii && TerminalIsUtf8();
    WDELTA_ASSIGN_OR_RETURN(
        const std::string drawing,
        DrawLineage(*nodes, tags, is_unicode ? GraphGlyphs::kUnicode : GraphGlyphs::kAscii));
    session.Print(drawing);
  }
  return absl::OkStatus();
}

}  // namespace

void AddLogCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "log", "Draw or list what was made from what", kExamples, Add,
                        Run);
}

}  // namespace wdelta
