#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta scrub\n"
    "  wdelta scrub --repair\n"
    "  wdelta scrub --no-wait\n"
    "What no other model has can be mended by pushing the checkpoint again.\n";

struct Arguments {
  bool repair = false;
  bool no_wait = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_flag("--repair", arguments.repair,
                   "Encode damaged models again from content that other models have");
  command.add_flag("--no-wait", arguments.no_wait, "Only start it; `wdelta jobs` shows the rest");
}

void PrintDamage(Session& session, const v1::ScrubDamage& damage) {
  session.Say(absl::StrCat(damage.is_repaired() ? "repaired  " : "DAMAGED   ",
                           Printable(damage.name()), "  ", damage.model()));
  session.Say(absl::StrCat("  ", Printable(damage.problem())));
  if (damage.is_total()) session.Say("  nothing of it can be read");
  for (const std::string& lost : damage.lost()) {
    session.Say(absl::StrCat("  lost: ", Printable(lost)));
  }
  const uint64_t unlisted_chunks = damage.lost_chunk_count() - damage.lost_size();
  if (unlisted_chunks > 0) session.Say(absl::StrCat("  and ", unlisted_chunks, " more chunks"));
  for (const v1::ScrubDamage::Affected& affected : damage.affected()) {
    session.Say(absl::StrCat("  touches ", Printable(affected.name()), "  ", affected.model()));
  }
  const uint64_t unlisted_models = damage.affected_count() - damage.affected_size();
  if (unlisted_models > 0) session.Say(absl::StrCat("  and ", unlisted_models, " more models"));
  if (!damage.repair_note().empty()) {
    session.Say(absl::StrCat("  not repaired: ", Printable(damage.repair_note())));
  }
}

absl::StatusOr<v1::Job> Wait(Session& session, Client& client, const std::string& id) {
  ProgressBar bar("scrub", session.quiet);
  WDELTA_ASSIGN_OR_RETURN(v1::Job job, client.WatchJob(id, [&bar](const v1::Job& now) {
    if (now.total_bytes() == 0) return;
    bar.Update({.done_bytes = now.done_bytes(), .total_bytes = now.total_bytes()});
  }));
  return job;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const std::string id, client->StartScrub(arguments.repair));
  if (arguments.no_wait) {
    if (session.is_json()) session.PrintJson({{"job", id}});
    session.Say(absl::StrCat("scrub  job ", id));
    return absl::OkStatus();
  }
  WDELTA_ASSIGN_OR_RETURN(const v1::Job job, Wait(session, *client, id));
  if (session.is_json()) session.PrintJson(JobJson(job));
  WDELTA_RETURN_IF_ERROR(JobResult(job));
  const v1::ScrubReport& report = job.scrub_report();
  for (const v1::ScrubDamage& damage : report.damages()) PrintDamage(session, damage);
  session.Say(absl::StrCat("read ", report.model_count(), " models, ", report.blob_count(),
                           " blobs of ", HumanBytes(report.blob_bytes()), ": ",
                           report.damage_count(), " damaged, ", report.repaired_count(),
                           " repaired"));
  if (report.damage_count() == report.repaired_count()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, "STORE_DAMAGED",
      absl::StrCat(report.damage_count() - report.repaired_count(), " models are damaged"));
}

}  // namespace

void AddScrubCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "scrub", "Verify everything that is stored", kExamples, Add,
                        Run);
}

}  // namespace wdelta
