#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/fidelity_text.h"
#include "client/cli/relation_words.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta show qwen-wiki\n"
    "  wdelta show qwen-wiki@prod --tensors\n"
    "  wdelta show qwen-lossy --all\n";

constexpr size_t kShownErrors = 20;

struct Arguments {
  std::string model;
  bool tensors = false;
  bool all = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_flag("--tensors", arguments.tensors, "List the tensors too");
  command.add_flag("--all", arguments.all,
                   "Of a lossy model, the error of every tensor, not of the worst alone");
}

// Lines of `key: value`, those without a value left out.
class Fields {
 public:
  void Add(absl::string_view key, absl::string_view value) {
    if (value.empty()) return;
    absl::StrAppendFormat(&text_, "%-12s %s\n", absl::StrCat(key, ":"), Printable(value));
  }
  template <typename Map>
  void AddMap(absl::string_view key, const Map& map) {
    std::vector<std::string> pairs;
    for (const auto& [name, value] : map) pairs.push_back(absl::StrCat(name, "=", value));
    std::sort(pairs.begin(), pairs.end());
    for (const std::string& pair : pairs) Add(key, pair);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// `merge, weight=0.5`
std::string EdgeText(const v1::Parent& parent) {
  std::vector<std::string> pairs;
  for (const auto& [key, value] : parent.metadata()) {
    pairs.push_back(absl::StrCat(", ", key, "=", value));
  }
  std::sort(pairs.begin(), pairs.end());
  return absl::StrCat(RelationWord(parent.relation()), absl::StrJoin(pairs, ""));
}

std::string DescribeModel(const v1::Model& model) {
  Fields fields;
  fields.Add("name", model.name());
  fields.Add("id", absl::StrCat("id:", model.id()));
  fields.Add("digest", model.digest());
  fields.Add("state", StateWord(model.state()));
  fields.Add("error", model.error());
  fields.Add("tags", absl::StrJoin(model.tags(), ", "));
  const auto& doubtful = model.lineage_check().doubtful_parents();
  for (const v1::Parent& parent : model.parents()) {
    const bool is_doubtful =
        std::find(doubtful.begin(), doubtful.end(), parent.model()) != doubtful.end();
    fields.Add("parent", absl::StrCat(parent.name(), " (", EdgeText(parent), ") ", parent.model(),
                                      is_doubtful ? "  DOUBTFUL: no closer than others" : ""));
  }
  if (!model.lineage_check().suggested_parent().empty()) {
    fields.Add("relative",
               absl::StrCat(model.lineage_check().suggested_parent_name(), " ",
                            model.lineage_check().suggested_parent(), "  close, not declared"));
  }
  fields.AddMap("label", model.labels());
  fields.AddMap("metadata", model.metadata());
  if (AllowsLoss(model.fidelity())) fields.Add("asked", PolicyText(model.fidelity()));
  fields.Add("fidelity", OutcomeText(model));
  fields.Add("parameters", absl::StrCat(HumanCount(model.parameter_count()), " in ",
                                        model.tensor_count(), " tensors"));
  fields.Add("raw",
             absl::StrCat(HumanBytes(model.raw_bytes()), " in ", model.file_count(), " files"));
  if (model.stored_bytes() > 0) {
    fields.Add("stored", absl::StrCat(HumanBytes(model.stored_bytes()), " (",
                                      HumanRatio(model.raw_bytes(), model.stored_bytes()),
                                      "), depth ", model.storage().depth(),
                                      model.storage().parent().empty() ? "" : " over ",
                                      model.storage().parent()));
  }
  fields.Add("created", HumanTime(model.create_time(), absl::LocalTimeZone()));
  fields.Add("ready", HumanTime(model.ready_time(), absl::LocalTimeZone()));
  fields.Add("job", model.job());
  return fields.text();
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(arguments.model));
  std::vector<v1::Tensor> tensors;
  // Errors are part of what a lossy model is.
  const bool is_lossy = model.fidelity_outcome().lossy();
  if (arguments.tensors || is_lossy) {
    WDELTA_ASSIGN_OR_RETURN(tensors, client->ListTensors(absl::StrCat("id:", model.id())).All());
  }
  if (session.is_json()) {
    Json json = ModelJson(model);
    if (arguments.tensors || is_lossy) json["tensors"] = Json::array();
    for (const v1::Tensor& tensor : tensors) json["tensors"].push_back(TensorJson(tensor));
    session.PrintJson(json);
    return absl::OkStatus();
  }
  Table files({{"FILE"}, {"SIZE", Align::kRight}, {"SHA-256"}});
  for (const v1::File& file : model.files()) {
    files.AddRow({file.path(), HumanBytes(file.size_bytes()), file.sha256()});
  }
  session.Print(absl::StrCat(DescribeModel(model), "\n", files.Render()));
  if (is_lossy) {
    session.Print(absl::StrCat("\n", TensorErrorTable(tensors, arguments.all ? 0 : kShownErrors)));
  }
  if (!arguments.tensors) return absl::OkStatus();
  Table table({{"TENSOR"}, {"DTYPE"}, {"SHAPE"}, {"SIZE", Align::kRight}, {"FILE"}});
  for (const v1::Tensor& tensor : tensors) {
    table.AddRow({tensor.name(), tensor.dtype(),
                  absl::StrCat("[", absl::StrJoin(tensor.shape(), ", "), "]"),
                  HumanBytes(tensor.size_bytes()), tensor.file()});
  }
  session.Print(absl::StrCat("\n", table.Render()));
  return absl::OkStatus();
}

}  // namespace

void AddShowCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "show", "Show all about one model", kExamples, Add, Run);
}

}  // namespace wdelta
