#include "client/cpp/diff.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/commands.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta diff qwen qwen-wiki\n"
    "  wdelta diff qwen-wiki@prod qwen-wiki --layers\n"
    "  wdelta diff qwen qwen-wiki --sort name --all --output json\n";

struct Arguments {
  std::string model_a;
  std::string model_b;
  std::string sort = "norm";
  bool layers = false;
  bool all = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("A", arguments.model_a, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_option("B", arguments.model_b, "The other model, which changes are told of")
      ->required();
  command.add_option("--sort", arguments.sort, "norm (the most changed first) or name")
      ->check(CLI::IsMember({"norm", "name"}))
      ->capture_default_str();
  command.add_flag("--layers", arguments.layers, "Sums by layer instead of every tensor");
  command.add_flag("--all", arguments.all, "List what is unchanged too");
}

std::string ChangeWord(v1::Change change) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(v1::Change_Name(change)), {{"_", "-"}});
}

std::string NormText(const v1::Difference& difference) {
  return difference.has_relative_norm() ? absl::StrFormat("%.3g", difference.relative_norm()) : "-";
}

double ChangedShare(const v1::Difference& difference) {
  return difference.weights() == 0 ? 0
                                   : static_cast<double>(difference.changed_weights()) /
                                         static_cast<double>(difference.weights());
}

std::string ShareText(const v1::Difference& difference) {
  return absl::StrFormat("%.2f%%", 100 * ChangedShare(difference));
}

std::string ShapeText(const v1::TensorShape& tensor) {
  return absl::StrCat(tensor.dtype(), " [", absl::StrJoin(tensor.shape(), ", "), "]");
}

std::string ShapesText(const v1::TensorDiff& tensor) {
  if (!tensor.has_b()) return ShapeText(tensor.a());
  if (!tensor.has_a()) return ShapeText(tensor.b());
  const std::string a = ShapeText(tensor.a());
  const std::string b = ShapeText(tensor.b());
  return a == b ? a : absl::StrCat(a, " -> ", b);
}

Json DifferenceJson(const v1::Difference& difference) {
  return {{"weights", difference.weights()},
          {"changed_weights", difference.changed_weights()},
          {"changed_share", ChangedShare(difference)},
          {"non_finite_weights", difference.non_finite_weights()},
          {"relative_norm",
           difference.has_relative_norm() ? Json(difference.relative_norm()) : Json(nullptr)},
          {"max_absolute_change", difference.max_absolute_change()}};
}

Json ShapeJson(bool is_set, const v1::TensorShape& tensor) {
  if (!is_set) return nullptr;
  Json shape = Json::array();
  for (const uint64_t dimension : tensor.shape()) shape.push_back(dimension);
  return {{"dtype", tensor.dtype()}, {"shape", std::move(shape)}};
}

Json CountsJson(const v1::TensorCounts& counts) {
  return {{"unchanged", counts.unchanged()},         {"changed", counts.changed()},
          {"only_in_a", counts.only_in_a()},         {"only_in_b", counts.only_in_b()},
          {"dtype_changed", counts.dtype_changed()}, {"shape_changed", counts.shape_changed()}};
}

// Gathers the parts of the answer.
class DiffReport {
 public:
  absl::Status Take(const v1::DiffResponse& part) {
    switch (part.part_case()) {
      case v1::DiffResponse::kHeader:
        header_ = part.header();
        break;
      case v1::DiffResponse::kTensor:
        tensors_.push_back(part.tensor());
        break;
      case v1::DiffResponse::kLayer:
        layers_.push_back(part.layer());
        break;
      case v1::DiffResponse::kFile:
        files_.push_back(part.file());
        break;
      default:
        totals_ = part.totals();
        break;
    }
    return absl::OkStatus();
  }

  Json ToJson() const {
    Json json = {{"a", {{"model", header_.model_a()}, {"name", header_.name_a()}}},
                 {"b", {{"model", header_.model_b()}, {"name", header_.name_b()}}},
                 {"tensors", Json::array()},
                 {"layers", Json::array()},
                 {"files", Json::array()},
                 {"totals",
                  {{"tensors", CountsJson(totals_.tensors())},
                   {"difference", DifferenceJson(totals_.difference())}}}};
    for (const v1::TensorDiff& tensor : tensors_) {
      json["tensors"].push_back(
          {{"name", tensor.name()},
           {"change", ChangeWord(tensor.change())},
           {"a", ShapeJson(tensor.has_a(), tensor.a())},
           {"b", ShapeJson(tensor.has_b(), tensor.b())},
           {"difference",
            tensor.has_difference() ? DifferenceJson(tensor.difference()) : Json(nullptr)}});
    }
    for (const v1::LayerDiff& layer : layers_) {
      json["layers"].push_back({{"layer", layer.layer()},
                                {"tensors", CountsJson(layer.tensors())},
                                {"difference", DifferenceJson(layer.difference())}});
    }
    for (const v1::FileDiff& file : files_) {
      json["files"].push_back({{"path", file.path()},
                               {"change", ChangeWord(file.change())},
                               {"size_bytes_a", file.size_bytes_a()},
                               {"size_bytes_b", file.size_bytes_b()}});
    }
    return json;
  }

  std::string ToText(bool by_layer) const {
    std::string text = by_layer ? LayerTable() : TensorTable();
    for (const v1::FileDiff& file : files_) {
      absl::StrAppend(&text, Printable(file.path()), "  ", ChangeWord(file.change()), "  ",
                      HumanBytes(file.size_bytes_a()), " -> ", HumanBytes(file.size_bytes_b()),
                      "\n");
    }
    const v1::TensorCounts& counts = totals_.tensors();
    absl::StrAppend(&text, counts.unchanged(), " tensors unchanged, ", counts.changed(),
                    " changed");
    const auto add = [&](uint64_t count, const char* what) {
      if (count > 0) absl::StrAppend(&text, ", ", count, " ", what);
    };
    add(counts.only_in_a(), "only in A");
    add(counts.only_in_b(), "only in B");
    add(counts.dtype_changed(), "of another dtype");
    add(counts.shape_changed(), "of another shape");
    const v1::Difference& all = totals_.difference();
    absl::StrAppend(&text, "; relative norm of the changed ", NormText(all), ", max change ",
                    absl::StrFormat("%.3g", all.max_absolute_change()), ", ", ShareText(all),
                    " of weights changed");
    if (all.non_finite_weights() > 0) {
      absl::StrAppend(&text, ", ", all.non_finite_weights(), " of them not finite");
    }
    absl::StrAppend(&text, "\n");
    return text;
  }

 private:
  std::string TensorTable() const {
    Table table({{"TENSOR"},
                 {"CHANGE"},
                 {"REL.NORM", Align::kRight},
                 {"MAX", Align::kRight},
                 {"CHANGED", Align::kRight},
                 {"NOT FINITE", Align::kRight},
                 {"SHAPE"}});
    for (const v1::TensorDiff& tensor : tensors_) {
      const v1::Difference& d = tensor.difference();
      const bool is_measured = tensor.has_difference();
      table.AddRow({tensor.name(), ChangeWord(tensor.change()), is_measured ? NormText(d) : "-",
                    is_measured ? absl::StrFormat("%.3g", d.max_absolute_change()) : "-",
                    is_measured ? ShareText(d) : "-", absl::StrCat(d.non_finite_weights()),
                    ShapesText(tensor)});
    }
    return table.Render();
  }

  std::string LayerTable() const {
    Table table({{"LAYER"},
                 {"UNCHANGED", Align::kRight},
                 {"CHANGED", Align::kRight},
                 {"OTHER", Align::kRight},
                 {"REL.NORM", Align::kRight},
                 {"MAX", Align::kRight},
                 {"WEIGHTS CHANGED", Align::kRight}});
    for (const v1::LayerDiff& layer : layers_) {
      const v1::TensorCounts& counts = layer.tensors();
      table.AddRow({layer.layer(), absl::StrCat(counts.unchanged()), absl::StrCat(counts.changed()),
                    absl::StrCat(counts.only_in_a() + counts.only_in_b() + counts.dtype_changed() +
                                 counts.shape_changed()),
                    NormText(layer.difference()),
                    absl::StrFormat("%.3g", layer.difference().max_absolute_change()),
                    ShareText(layer.difference())});
    }
    return table.Render();
  }

  v1::DiffHeader header_;
  std::vector<v1::TensorDiff> tensors_;
  std::vector<v1::LayerDiff> layers_;
  std::vector<v1::FileDiff> files_;
  v1::DiffTotals totals_;
};

absl::Status Run(Session& session, const Arguments& arguments) {
  v1::DiffRequest request;
  request.set_model_a(arguments.model_a);
  request.set_model_b(arguments.model_b);
  request.set_order(arguments.sort == "name" ? v1::DiffRequest::BY_NAME
                                             : v1::DiffRequest::BY_RELATIVE_NORM);
  request.set_omit_unchanged(!arguments.all);
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  DiffReport report;
  WDELTA_RETURN_IF_ERROR(DiffModels(
      *client, request, [&](const v1::DiffResponse& part) { return report.Take(part); }));
  if (session.is_json()) {
    session.PrintJson(report.ToJson());
  } else {
    session.Print(report.ToText(arguments.layers));
  }
  return absl::OkStatus();
}

}  // namespace

void AddDiffCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "diff", "Tell what differs between two models", kExamples,
                        Add, Run);
}

}  // namespace wdelta
