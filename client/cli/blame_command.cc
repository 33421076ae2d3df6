#include "client/cpp/blame.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/commands.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta blame qwen-wiki\n"
    "  wdelta blame qwen-wiki@prod --by-model\n"
    "  wdelta blame qwen-wiki --output json\n"
    "A tensor came from the first declared parent that has the same bytes under the same name,\n"
    "or, when none has, from the first that has them once under another name.\n";

struct Arguments {
  std::string model;
  bool by_model = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_flag("--by-model", arguments.by_model,
                   "How much comes from each ancestor instead of every tensor");
}

// Null for a tensor whose trail does not end.
Json TrailEndJson(const v1::TensorBlame& tensor) {
  if (tensor.trail_end() == v1::TensorBlame::NO_TRAIL_END) return nullptr;
  return {{"reason", absl::AsciiStrToLower(v1::TensorBlame::TrailEnd_Name(tensor.trail_end()))},
          {"parent", tensor.lost_parent()},
          {"parent_name", tensor.lost_parent_name()}};
}

Json TensorJson(const v1::TensorBlame& tensor) {
  Json shape = Json::array();
  for (const uint64_t dimension : tensor.tensor().shape()) shape.push_back(dimension);
  const std::string& name_there = tensor.name_there();
  return {{"name", tensor.name()},
          {"dtype", tensor.tensor().dtype()},
          {"shape", std::move(shape)},
          {"size_bytes", tensor.size_bytes()},
          {"model", tensor.model()},
          {"model_name", tensor.model_name()},
          {"name_there", name_there.empty() ? tensor.name() : name_there},
          {"trail_end", TrailEndJson(tensor)}};
}

std::string NoteOf(const v1::TensorBlame& tensor) {
  std::vector<std::string> notes;
  if (!tensor.name_there().empty()) notes.push_back(absl::StrCat("there ", tensor.name_there()));
  const std::string parent =
      tensor.lost_parent_name().empty() ? tensor.lost_parent() : tensor.lost_parent_name();
  switch (tensor.trail_end()) {
    case v1::TensorBlame::NO_TRAIL_END:
      break;
    case v1::TensorBlame::PARENT_DELETED:
      notes.push_back(absl::StrCat("or before: its parent ", parent, " was deleted"));
      break;
    case v1::TensorBlame::PARENT_NOT_READY:
      notes.push_back(absl::StrCat("or before: its parent ", parent, " is not ready"));
      break;
    default:
      notes.push_back("or before: too many ancestors");
      break;
  }
  return absl::StrJoin(notes, "; ");
}

// Gathers the parts of the answer.
class BlameReport {
 public:
  absl::Status Take(const v1::BlameResponse& part) {
    switch (part.part_case()) {
      case v1::BlameResponse::kHeader:
        header_ = part.header();
        break;
      case v1::BlameResponse::kTensor:
        tensors_.push_back(part.tensor());
        break;
      case v1::BlameResponse::kModel:
        models_.push_back(part.model());
        break;
      default:
        totals_ = part.totals();
        break;
    }
    return absl::OkStatus();
  }

  Json ToJson() const {
    Json json = {{"model", header_.model()},
                 {"name", header_.name()},
                 {"tensors", Json::array()},
                 {"models", Json::array()},
                 {"totals",
                  {{"tensor_count", totals_.tensor_count()},
                   {"size_bytes", totals_.size_bytes()},
                   {"renamed_tensors", totals_.renamed_tensors()},
                   {"uncertain_tensors", totals_.uncertain_tensors()}}}};
    for (const v1::TensorBlame& tensor : tensors_) json["tensors"].push_back(TensorJson(tensor));
    for (const v1::ModelBlame& model : models_) {
      json["models"].push_back({{"model", model.model()},
                                {"name", model.name()},
                                {"tensor_count", model.tensor_count()},
                                {"size_bytes", model.size_bytes()}});
    }
    return json;
  }

  std::string ToText(bool by_model) const {
    std::string text = by_model ? ModelTable() : TensorTable();
    absl::StrAppend(&text, totals_.tensor_count(), " tensors of ", models_.size(), " models");
    if (totals_.renamed_tensors() > 0) {
      absl::StrAppend(&text, ", ", totals_.renamed_tensors(), " renamed");
    }
    if (totals_.uncertain_tensors() > 0) {
      absl::StrAppend(&text, ", ", totals_.uncertain_tensors(), " perhaps older");
    }
    return text + "\n";
  }

 private:
  std::string TensorTable() const {
    Table table({{"TENSOR"}, {"SHAPE"}, {"CHANGED IN"}, {"MODEL"}, {"NOTE"}});
    for (const v1::TensorBlame& tensor : tensors_) {
      table.AddRow({tensor.name(),
                    absl::StrCat(tensor.tensor().dtype(), " [",
                                 absl::StrJoin(tensor.tensor().shape(), ", "), "]"),
                    tensor.model_name(), tensor.model(), NoteOf(tensor)});
    }
    return table.Render();
  }

  std::string ModelTable() const {
    Table table({{"CHANGED IN"}, {"MODEL"}, {"TENSORS", Align::kRight}, {"SIZE", Align::kRight}});
    for (const v1::ModelBlame& model : models_) {
      table.AddRow({model.name(), model.model(), absl::StrCat(model.tensor_count()),
                    HumanBytes(model.size_bytes())});
    }
    return table.Render();
  }

  v1::BlameHeader header_;
  std::vector<v1::TensorBlame> tensors_;
  std::vector<v1::ModelBlame> models_;
  v1::BlameTotals totals_;
};

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  BlameReport report;
  WDELTA_RETURN_IF_ERROR(BlameModel(
      *client, arguments.model, [&](const v1::BlameResponse& part) { return report.Take(part); }));
  if (session.is_json()) {
    session.PrintJson(report.ToJson());
  } else {
    session.Print(report.ToText(arguments.by_model));
  }
  return absl::OkStatus();
}

}  // namespace

void AddBlameCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "blame",
                        "For every tensor, the ancestor in which it last changed", kExamples, Add,
                        Run);
}

}  // namespace wdelta
