#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cpp/gc_plan.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta gc --dry-run\n"
    "  wdelta gc --wait\n";

struct Arguments {
  bool dry_run = false;
  bool wait = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  CLI::Option* dry_run = command.add_flag("--dry-run,--dry_run", arguments.dry_run,
                                          "Only say what would go and what would be rewritten");
  command.add_flag("--wait", arguments.wait, "Wait until the job has ended")->excludes(dry_run);
}

std::string CountOf(uint64_t count, absl::string_view what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

// What a crash or time has left; empty when there is nothing.
template <typename Counts>
std::string LeftoversOf(const Counts& counts) {
  std::vector<std::string> parts;
  const auto add = [&parts](uint64_t count, absl::string_view what) {
    if (count > 0) parts.push_back(CountOf(count, what));
  };
  add(counts.orphan_blobs(), "orphan blob");
  add(counts.orphan_claims(), "orphan claim");
  add(counts.orphan_uploads(), "orphan upload");
  add(counts.old_records(), "old record");
  return absl::StrJoin(parts, ", ");
}

// Collects the items of a plan for people and for programs.
class PlanView {
 public:
  absl::Status Take(const v1::PlanGcResponse& item) {
    switch (item.item_case()) {
      case v1::PlanGcResponse::kDeletion:
        Add(item.deletion());
        break;
      case v1::PlanGcResponse::kFreed:
        Add(item.freed());
        break;
      case v1::PlanGcResponse::kRewrite:
        Add(item.rewrite());
        break;
      case v1::PlanGcResponse::kKept:
        Add(item.kept());
        break;
      case v1::PlanGcResponse::kTotals:
        totals_ = item.totals();
        break;
      default:
        break;  // of a newer server
    }
    return absl::OkStatus();
  }

  Json ToJson() {
    json_["totals"] = {{"models_deleted", totals_.models_deleted()},
                       {"models_rewritten", totals_.models_rewritten()},
                       {"models_freed", totals_.models_freed()},
                       {"models_kept", totals_.models_kept()},
                       {"freed_bytes", totals_.freed_bytes()},
                       {"growth_bytes", totals_.growth_bytes()},
                       {"orphan_blobs", totals_.orphan_blobs()},
                       {"orphan_claims", totals_.orphan_claims()},
                       {"orphan_uploads", totals_.orphan_uploads()},
                       {"old_records", totals_.old_records()}};
    return json_;
  }

  std::string Render() const {
    std::string text = has_rows_ ? table_.Render() : "";
    const int64_t growth = totals_.growth_bytes();
    absl::StrAppend(&text, "would free ", HumanBytes(totals_.freed_bytes()));
    if (growth > 0) absl::StrAppend(&text, ", and write ", HumanBytes(growth), " more");
    const std::string leftovers = LeftoversOf(totals_);
    if (!leftovers.empty()) absl::StrAppend(&text, "; ", leftovers);
    return text + "\n";
  }

 private:
  void AddRow(const std::vector<std::string>& cells) {
    table_.AddRow(cells);
    has_rows_ = true;
  }

  void Add(const v1::PlannedDeletion& item) {
    json_["deletions"].push_back({{"model", item.model()},
                                  {"name", item.name()},
                                  {"rule", item.rule()},
                                  {"run", item.run()},
                                  {"position", item.position()},
                                  {"stored_bytes", item.stored_bytes()}});
    AddRow({"delete", item.name(), item.model(), HumanBytes(item.stored_bytes()),
            absl::StrCat("rule ", item.rule(), ", number ", item.position(), " of ", item.run())});
  }

  void Add(const v1::PlannedFree& item) {
    json_["freed"].push_back(
        {{"model", item.model()}, {"name", item.name()}, {"bytes", item.bytes()}});
    AddRow({"free", item.name(), item.model(), HumanBytes(item.bytes()), ""});
  }

  void Add(const v1::PlannedRewrite& item) {
    json_["rewrites"].push_back({{"model", item.model()},
                                 {"name", item.name()},
                                 {"stored_bytes", item.stored_bytes()},
                                 {"estimated_bytes", item.estimated_bytes()},
                                 {"storage_parent", item.storage_parent()},
                                 {"storage_parent_name", item.storage_parent_name()}});
    const std::string where = item.storage_parent().empty()
                                  ? "alone"
                                  : absl::StrCat("against ", item.storage_parent_name());
    AddRow({"rewrite", item.name(), item.model(), HumanBytes(item.stored_bytes()),
            absl::StrCat("about ", HumanBytes(item.estimated_bytes()), " ", where)});
  }

  void Add(const v1::KeptModel& item) {
    json_["kept"].push_back({{"model", item.model()},
                             {"name", item.name()},
                             {"bytes", item.bytes()},
                             {"dependents", item.dependents()},
                             {"least_cost_bytes", item.least_cost_bytes()},
                             {"problem", item.problem()}});
    const std::string why =
        item.problem().empty()
            ? absl::StrCat(CountOf(item.dependents(), "model"), " would grow by more than ",
                           HumanBytes(item.least_cost_bytes()))
            : item.problem();
    AddRow({"keep", item.name(), item.model(), HumanBytes(item.bytes()), why});
  }

  Json json_ = {{"deletions", Json::array()},
                {"freed", Json::array()},
                {"rewrites", Json::array()},
                {"kept", Json::array()}};
  Table table_{{{"WHAT"}, {"NAME"}, {"MODEL"}, {"STORED", Align::kRight}, {"NOTE"}}};
  bool has_rows_ = false;
  v1::PlanGcTotals totals_;
};

absl::Status RunPlan(Session& session, Client& client) {
  PlanView view;
  WDELTA_RETURN_IF_ERROR(
      PlanGc(client, [&view](const v1::PlanGcResponse& item) { return view.Take(item); }));
  if (session.is_json()) {
    session.PrintJson(view.ToJson());
  } else {
    session.Print(view.Render());
  }
  return absl::OkStatus();
}

std::string Summary(const v1::GcReport& report) {
  std::vector<std::string> parts = {absl::StrCat("freed ", HumanBytes(report.freed_bytes()))};
  const auto add = [&parts](uint64_t count, absl::string_view what) {
    if (count > 0) parts.push_back(absl::StrCat(CountOf(count, "model"), " ", what));
  };
  add(report.models_deleted(), "deleted by rules");
  add(report.models_freed(), "freed");
  add(report.models_rewritten(), "rewritten");
  if (report.written_bytes() > 0) {
    parts.back() += absl::StrCat(" into ", HumanBytes(report.written_bytes()));
  }
  add(report.models_kept(), "kept for others");
  add(report.models_in_use(), "still being fetched");
  const std::string leftovers = LeftoversOf(report);
  if (!leftovers.empty()) parts.push_back(leftovers);
  return absl::StrJoin(parts, ", ");
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  if (arguments.dry_run) return RunPlan(session, *client);
  WDELTA_ASSIGN_OR_RETURN(const std::string id, client->StartGc());
  if (!arguments.wait) {
    if (session.is_json()) session.PrintJson({{"job", id}});
    session.Say(absl::StrCat("gc  job ", id));
    return absl::OkStatus();
  }
  WDELTA_ASSIGN_OR_RETURN(const v1::Job job, client->WatchJob(id));
  if (session.is_json()) session.PrintJson(JobJson(job));
  WDELTA_RETURN_IF_ERROR(JobResult(job));
  session.Say(Summary(job.gc_report()));
  for (const std::string& problem : job.gc_report().problems()) {
    session.Say(absl::StrCat("problem: ", Printable(problem)));
  }
  return absl::OkStatus();
}

}  // namespace

void AddGcCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "gc",
                        "Free what deleted models hold, rewriting others where that pays",
                        kExamples, Add, Run);
}

}  // namespace wdelta
