#include "client/cli/push_report.h"

#include <cstdio>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cli/fidelity_text.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/base/stop_signals.h"

namespace wdelta {

absl::Status PushAndReport(
    Session& session, PushOptions options,
    const std::function<absl::StatusOr<PushResult>(Client&, const PushOptions&)>& push) {
  Interrupt interrupt;
  // Before gRPC has threads. A second signal ends the process as it is.
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<StopSignals> signals,
                          StopSignals::Install([&interrupt] { interrupt.Trigger(); }));
  options.interrupt = &interrupt;
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect(interrupt));
  std::optional<ProgressBar> upload_bar(std::in_place, "upload", session.quiet);
  std::optional<ProgressBar> job_bar;
  options.progress = [&](const Progress& progress) { upload_bar->Update(progress); };
  options.on_stall = [&](const absl::Status& reason) {
    ProgressBar& bar = job_bar.has_value() ? *job_bar : *upload_bar;
    bar.Say(StallLine(session.what, reason));
  };
  bool has_told_of_waiting = false;
  options.on_job = [&](const v1::Job& job) {
    if (!job_bar.has_value()) job_bar.emplace("store ", session.quiet);
    upload_bar.reset();
    // Told once: the reason comes back with other numbers at each of the daemon's attempts.
    const bool is_waiting = job.state() == v1::Job::PENDING && !job.error().empty();
    if (is_waiting && !has_told_of_waiting) {
      has_told_of_waiting = true;
      job_bar->Say(absl::StrCat("wdelta: the model is uploaded, its job ", job.id(),
                                " waits: ", job.error()));
    }
    if (job.total_bytes() == 0) return;
    job_bar->Update({.done_bytes = job.done_bytes(), .total_bytes = job.total_bytes()});
  };
  const absl::StatusOr<PushResult> result = push(*client, options);
  upload_bar.reset();
  job_bar.reset();
  if (ErrorReason(result.status()) == "NAME_TAKEN") {
    return MakeError(result.status().code(), "NAME_TAKEN",
                     absl::StrCat(result.status().message(), " (--new-version)"));
  }
  WDELTA_RETURN_IF_ERROR(result.status());
  const v1::Model& model = result->model;
  if (session.is_json()) {
    session.PrintJson({{"model", ModelJson(model)},
                       {"job", result->job},
                       {"total_bytes", result->total_bytes},
                       {"sent_bytes", result->sent_bytes},
                       {"reused_bytes", result->reused_bytes}});
    return absl::OkStatus();
  }
  std::string line =
      absl::StrCat(model.name(), "  id:", model.id(), "  ", StateWord(model.state()), "  ",
                   HumanBytes(model.stored_bytes() > 0 ? model.raw_bytes() : result->total_bytes));
  if (model.stored_bytes() > 0) {
    absl::StrAppend(&line, " stored as ", HumanBytes(model.stored_bytes()), " (",
                    HumanRatio(model.raw_bytes(), model.stored_bytes()), ")");
  }
  if (AllowsLoss(model.fidelity())) {
    const std::string outcome = OutcomeText(model);
    absl::StrAppend(&line, "  ", outcome.empty() ? "may become lossy" : outcome);
  }
  if (result->reused_bytes > 0) {
    absl::StrAppend(&line, "  sent ", HumanBytes(result->sent_bytes), ", the rest was there");
  }
  if (!options.wait) absl::StrAppend(&line, "  job ", result->job);
  session.Say(line);
  return absl::OkStatus();
}

}  // namespace wdelta
