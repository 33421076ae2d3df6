#include "client/cli/model_table.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cli/fidelity_text.h"
#include "client/cli/json_output.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace wdelta {
namespace {

Table NewTable() {
  return Table({{"NAME"},
                {"ID"},
                {"STATE"},
                {"PARENTS"},
                {"RAW", Align::kRight},
                {"STORED", Align::kRight},
                {"RATIO", Align::kRight},
                {"FIDELITY"},
                {"CREATED"}});
}

std::string ParentsText(const v1::Model& model) {
  if (model.parents().empty()) return "-";
  return absl::StrJoin(model.parents(), ",", [](std::string* out, const v1::Parent& parent) {
    absl::StrAppend(out, parent.name().empty() ? parent.model() : parent.name());
  });
}

void AddRow(const v1::Model& model, Table& table) {
  table.AddRow({model.name(), ShortId(model.id()), StateWord(model.state()), ParentsText(model),
                HumanBytes(model.raw_bytes()),
                model.stored_bytes() == 0 ? "-" : HumanBytes(model.stored_bytes()),
                HumanRatio(model.raw_bytes(), model.stored_bytes()), FidelityWord(model),
                HumanTime(model.create_time(), absl::LocalTimeZone())});
}

}  // namespace

std::string ModelTable(const std::vector<v1::Model>& models) {
  Table table = NewTable();
  for (const v1::Model& model : models) AddRow(model, table);
  return table.Render();
}

void PrintModels(const Session& session, const std::vector<v1::Model>& models) {
  if (!session.is_json()) {
    session.Print(ModelTable(models));
    return;
  }
  Json json = Json::array();
  for (const v1::Model& model : models) json.push_back(ModelJson(model));
  session.PrintJson(json);
}

std::string LineageTable(const std::vector<v1::LineageNode>& nodes) {
  Table table = NewTable();
  for (const v1::LineageNode& node : nodes) {
    const v1::Model& model = node.model();
    if (node.deleted()) {
      table.AddRow({model.name(), ShortId(model.id()), "deleted", ParentsText(model), "-", "-", "-",
                    "-", "-"});
    } else {
      AddRow(model, table);
    }
  }
  return table.Render();
}

}  // namespace wdelta
