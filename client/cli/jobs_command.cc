#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
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
    "  wdelta jobs --state failed --limit 20\n"
    "  wdelta jobs --state pending --state running\n"
    "  wdelta jobs 01jd7t0000000000000000000a --watch\n"
    "  wdelta jobs 01jd7t0000000000000000000a --cancel\n";

struct Arguments {
  std::string job;
  bool watch = false;
  bool cancel = false;
  std::vector<std::string> states;
  uint64_t limit = 0;
};

void Add(CLI::App& command, Arguments& arguments) {
  CLI::Option* job = command.add_option("JOB", arguments.job, "Only this one");
  CLI::Option* watch = command.add_flag("--watch", arguments.watch, "Wait until it has ended");
  watch->needs(job);
  command.add_flag("--cancel", arguments.cancel, "Ask it to stop")->needs(job)->excludes(watch);
  command
      .add_option("--state", arguments.states,
                  "pending, running, succeeded, failed or cancelled; may be repeated: any of them")
      ->allow_extra_args(false)
      ->excludes(job);
  command.add_option("--limit", arguments.limit, "Only so many, the newest; 0: all")
      ->capture_default_str()
      ->excludes(job);
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

absl::StatusOr<std::vector<v1::Job::State>> ParseStates(const std::vector<std::string>& words) {
  std::vector<v1::Job::State> states;
  for (const std::string& word : words) {
    v1::Job::State& state = states.emplace_back();
    if (!v1::Job::State_Parse(absl::AsciiStrToUpper(word), &state) ||
        state == v1::Job::STATE_UNSPECIFIED) {
      return absl::InvalidArgumentError(absl::StrCat(
          "state `", word, "`: expected pending, running, succeeded, failed or cancelled"));
    }
  }
  return states;
}

absl::Status List(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Job::State> states, ParseStates(arguments.states));
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  Pager<v1::Job> pager = client->ListJobs(states);
  const uint64_t limit =
      arguments.limit == 0 ? std::numeric_limits<uint64_t>::max() : arguments.limit;
  std::vector<v1::Job> jobs;
  while (jobs.size() < limit) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<v1::Job> job, pager.Next());
    if (!job.has_value()) break;
    jobs.push_back(*std::move(job));
  }
  if (session.is_json()) {
    Json json = Json::array();
    for (const v1::Job& job : jobs) json.push_back(JobJson(job));
    session.PrintJson(json);
  } else {
    session.Print(Render(jobs));
  }
  return absl::OkStatus();
}

absl::Status Run(Session& session, const Arguments& arguments) {
  if (arguments.job.empty()) return List(session, arguments);
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
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
