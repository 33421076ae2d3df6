#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/fidelity_arguments.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta repack qwen-wiki\n"
    "  wdelta repack qwen-wiki@prod --effort=max --wait\n";

struct Arguments {
  std::string model;
  std::string effort = "max";
  bool wait = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_option("--effort", arguments.effort, "fast or max")->capture_default_str();
  command.add_flag("--wait", arguments.wait, "Wait until the job has ended");
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(const v1::FidelityPolicy::Effort effort, ParseEffort(arguments.effort));
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const v1::Model before, client->GetModel(arguments.model));
  const std::string reference = absl::StrCat("id:", before.id());
  WDELTA_ASSIGN_OR_RETURN(const std::string job, client->RepackModel(reference, effort));
  v1::Model after = before;
  if (arguments.wait) {
    ProgressBar bar("repack", session.quiet);
    WDELTA_ASSIGN_OR_RETURN(const v1::Job ended, client->WatchJob(job, [&](const v1::Job& state) {
      bar.Update({.done_bytes = state.done_bytes(), .total_bytes = state.total_bytes()});
    }));
    WDELTA_RETURN_IF_ERROR(JobResult(ended));
    WDELTA_ASSIGN_OR_RETURN(after, client->GetModel(reference));
  }
  if (session.is_json()) {
    session.PrintJson({{"model", reference},
                       {"job", job},
                       {"stored_bytes_before", before.stored_bytes()},
                       {"stored_bytes", after.stored_bytes()}});
    return absl::OkStatus();
  }
  std::string line = absl::StrCat(before.name(), "  ", reference, "  ");
  if (!arguments.wait) {
    absl::StrAppend(&line, "job ", job);
  } else if (after.stored_bytes() == before.stored_bytes()) {
    absl::StrAppend(&line, "kept as it was, ", HumanBytes(after.stored_bytes()), " (",
                    HumanRatio(after.raw_bytes(), after.stored_bytes()), ")");
  } else {
    absl::StrAppend(&line, HumanBytes(before.stored_bytes()), " repacked as ",
                    HumanBytes(after.stored_bytes()), " (",
                    HumanRatio(after.raw_bytes(), after.stored_bytes()), ")");
  }
  session.Say(line);
  return absl::OkStatus();
}

}  // namespace

void AddRepackCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "repack",
                        "Encode a stored model again in the background, the smaller form is kept",
                        kExamples, Add, Run);
}

}  // namespace wdelta
