#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/model_table.h"
#include "client/cli/quantities.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta search 'qwen-*' --label team=nlp --state ready\n"
    "  wdelta search --since 7d --min-size 10GiB\n"
    "  wdelta search --since 2026-01-01 --until 2026-02-01 --max-stored 500MB --output json\n"
    "A model must pass all filters that are given. Times are dates, RFC 3339 or ages (90s, 30m,\n"
    "12h, 7d); sizes are bytes or have a unit (KiB, MB…). Bounds of the stored size leave out\n"
    "what is not stored yet.\n";

struct Arguments {
  std::string name_pattern;
  std::vector<std::string> labels;
  std::vector<std::string> states;
  std::string since, until;
  std::string min_size, max_size;
  std::string min_stored, max_stored;
  uint64_t limit = 0;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("NAME", arguments.name_pattern, "Shell pattern with * and ?");
  command.add_option("--label", arguments.labels, "With this key=value; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--state", arguments.states,
                  "staged, ready, failed or importing; may be repeated: any of them")
      ->allow_extra_args(false);
  command.add_option("--since", arguments.since, "Created at this time or later");
  command.add_option("--until", arguments.until, "Created before this time");
  command.add_option("--min-size", arguments.min_size, "Of the checkpoint, at least");
  command.add_option("--max-size", arguments.max_size, "Of the checkpoint, at most");
  command.add_option("--min-stored", arguments.min_stored, "Of what is stored, at least");
  command.add_option("--max-stored", arguments.max_stored, "Of what is stored, at most");
  command.add_option("--limit", arguments.limit, "Stop after so many models; 0: all")
      ->capture_default_str();
}

absl::Status SetTime(const std::string& text,
                     google::protobuf::Timestamp* (*field)(v1::ListModelsRequest&),
                     v1::ListModelsRequest& request) {
  if (text.empty()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const absl::Time time,
                          ParseTime(text, absl::Now(), absl::LocalTimeZone()));
  const int64_t seconds = absl::ToUnixSeconds(time);
  google::protobuf::Timestamp* const out = field(request);
  out->set_seconds(seconds);
  out->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return absl::OkStatus();
}

absl::Status SetSize(const std::string& text, void (v1::ListModelsRequest::*set)(uint64_t),
                     v1::ListModelsRequest& request) {
  if (text.empty()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const uint64_t bytes, ParseByteSize(text));
  (request.*set)(bytes);
  return absl::OkStatus();
}

absl::StatusOr<v1::ListModelsRequest> ToRequest(const Arguments& arguments) {
  using Request = v1::ListModelsRequest;
  Request request;
  request.set_name_pattern(arguments.name_pattern);
  WDELTA_ASSIGN_OR_RETURN(const auto labels, ParseKeyValues(arguments.labels));
  request.mutable_labels()->insert(labels.begin(), labels.end());
  for (const std::string& word : arguments.states) {
    v1::Model::State state = v1::Model::STATE_UNSPECIFIED;
    if (!v1::Model::State_Parse(absl::AsciiStrToUpper(word), &state) ||
        state == v1::Model::STATE_UNSPECIFIED) {
      return absl::InvalidArgumentError(
          absl::StrCat("state `", word, "`: expected staged, ready, failed or importing"));
    }
    request.add_states(state);
  }
  WDELTA_RETURN_IF_ERROR(SetTime(
      arguments.since, [](Request& out) { return out.mutable_created_after(); }, request));
  WDELTA_RETURN_IF_ERROR(SetTime(
      arguments.until, [](Request& out) { return out.mutable_created_before(); }, request));
  WDELTA_RETURN_IF_ERROR(SetSize(arguments.min_size, &Request::set_min_raw_bytes, request));
  WDELTA_RETURN_IF_ERROR(SetSize(arguments.max_size, &Request::set_max_raw_bytes, request));
  WDELTA_RETURN_IF_ERROR(SetSize(arguments.min_stored, &Request::set_min_stored_bytes, request));
  WDELTA_RETURN_IF_ERROR(SetSize(arguments.max_stored, &Request::set_max_stored_bytes, request));
  return request;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(const v1::ListModelsRequest request, ToRequest(arguments));
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  Pager<v1::Model> pager = client->ListModels(request);
  const uint64_t limit =
      arguments.limit == 0 ? std::numeric_limits<uint64_t>::max() : arguments.limit;
  std::vector<v1::Model> models;
  while (models.size() < limit) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<v1::Model> model, pager.Next());
    if (!model.has_value()) break;
    models.push_back(*std::move(model));
  }
  PrintModels(session, models);
  return absl::OkStatus();
}

}  // namespace

void AddSearchCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "search", "Find models by name, label, state, time and size",
                        kExamples, Add, Run);
}

}  // namespace wdelta
