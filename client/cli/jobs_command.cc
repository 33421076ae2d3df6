#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta jobs\n"
    "  wdelta jobs 01jd7t0000000000000000000a --watch\n"
    "  wdelta jobs 01jd7t0000000000000000000a --cancel\n";

struct Arguments {
  std::string job;
  bool watch = false;
  bool cancel = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  CLI::Option* job = command.add_option("JOB", arguments.job, "Only this one");
  CLI::Option* watch = command.add_flag("--watch", arguments.watch, "Wait until it has ended");
  watch->needs(job);
  command.add_flag("--cancel", arguments.cancel, "Ask it to stop")->needs(job)->excludes(watch);
}

std::string DoneOf(const v1::Job& job) {
  if (job.total_bytes() == 0) return "-";
  const double percent =
      100.0 * static_cast<double>(job.done_bytes()) / static_cast<double>(job.total_bytes());
  return absl::StrFormat("%.0f%%", percent);
}

std::string Render(const std::vector<v1::Job>& jobs) {
  Table table(
      {{"JOB"}, {"KIND"}, {"STATE"}, {"MODEL"}, {"DONE", Align::kRight}, {"CREATED"}, {"ERROR"}});
  for (const v1::Job& job : jobs) {
    table.AddRow({job.id(), KindWord(job.kind()), StateWord(job.state()), job.model_name(),
                  DoneOf(job), HumanTime(job.create_time(), absl::LocalTimeZone()), job.error()});
  }
  return table.Render();
}

absl::StatusOr<v1::Job> Watch(Session& session, Client& client, const std::string& job_id) {
  ProgressBar bar("job", session.quiet);
  return client.WatchJob(job_id, [&bar](const v1::Job& job) {
    if (job.total_bytes() == 0) return;
    bar.Update({.done_bytes = job.done_bytes(), .total_bytes = job.total_bytes()});
  });
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  if (arguments.job.empty()) {
    WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, client->ListJobs().All());
    Json json = Json::array();
    for (const v1::Job& job : jobs) json.push_back(JobJson(job));
    if (session.is_json()) {
      session.PrintJson(json);
    } else {
      session.Print(Render(jobs));
    }
    return absl::OkStatus();
  }
  const absl::StatusOr<v1::Job> job = arguments.cancel  ? client->CancelJob(arguments.job)
                                      : arguments.watch ? Watch(session, *client, arguments.job)
                                                        : client->GetJob(arguments.job);
  WDELTA_RETURN_IF_ERROR(job.status());
  if (session.is_json()) {
    session.PrintJson(JobJson(*job));
  } else {
    session.Print(Render({*job}));
  }
  return arguments.watch ? JobResult(*job) : absl::OkStatus();
}

}  // namespace

void AddJobsCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "jobs", "List, watch or cancel background jobs", kExamples,
                        Add, Run);
}

}  // namespace wdelta
