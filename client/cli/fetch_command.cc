#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "client/cli/slice_argument.h"
#include "client/cli/text.h"
#include "client/cpp/fetch_to_file.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta fetch qwen-wiki --tensor 'model.layers.0.*' --out layer0.safetensors\n"
    "  wdelta fetch qwen-wiki --tensor '*embed*' --slice 0=0:1000 --out rows.safetensors\n"
    "  wdelta fetch qwen-wiki --shard '*.o_proj.weight:1=2/4' --shard '*_proj.weight:0=2/4' \\\n"
    "      --out rank2.safetensors\n"
    "A tensor takes the first --slice, or else the first --shard, that is for it; one that has\n"
    "none comes whole. Without PATTERN it is for every tensor that has the axis. START and STOP\n"
    "may be left out: `0=:1000`, `0=1000:`.\n";

struct Arguments {
  std::string model;
  std::vector<std::string> tensors;
  std::vector<std::string> slices;
  std::vector<std::string> shards;
  std::string file;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command
      .add_option("--tensor", arguments.tensors,
                  "Shell pattern of tensor names; may be repeated; default all")
      ->allow_extra_args(false);
  command
      .add_option("--slice", arguments.slices,
                  "[PATTERN:]AXIS=START:STOP: only these positions of an axis; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--shard", arguments.shards,
                  "[PATTERN:]AXIS=I/N: only part I, from 0, of N equal ones; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--out", arguments.file, "The safetensors file to write")->required();
}

// A pattern or an axis that was mistyped would otherwise give whole tensors without a word. No
// error: the same shards may be asked of models that lack some of the tensors.
void WarnOfUnused(const SliceRule& rule, const std::string& text,
                  const std::vector<WrittenTensor>& tensors) {
  const bool is_used = std::any_of(tensors.begin(), tensors.end(), [&](const auto& written) {
    return FirstRuleFor({rule}, written.tensor) != nullptr;
  });
  if (is_used) return;
  std::fprintf(stderr, "wdelta: fetch: `%s` is for none of the tensors, and changed nothing\n",
               Printable(text).c_str());
}

Json ToJson(const WrittenTensor& written) {
  Json json = {{"name", written.tensor.name},
               {"dtype", std::string(DTypeName(written.tensor.dtype))},
               {"shape", written.tensor.shape},
               {"size_bytes", written.tensor.size_bytes},
               {"slice", nullptr}};
  if (written.slice.has_value()) {
    json["slice"] = {{"axis", written.slice->axis},
                     {"start", written.slice->start},
                     {"stop", written.slice->stop}};
  }
  return json;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  FetchToFileOptions options;
  options.name_patterns = arguments.tensors;
  for (const std::string& text : arguments.slices) {
    WDELTA_ASSIGN_OR_RETURN(options.slices.emplace_back(), ParseSlice(text));
  }
  for (const std::string& text : arguments.shards) {
    WDELTA_ASSIGN_OR_RETURN(options.slices.emplace_back(), ParseShard(text));
  }
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  absl::StatusOr<FetchToFileResult> result;
  {
    ProgressBar bar("fetch", session.quiet);
    options.progress = [&bar](const Progress& progress) { bar.Update(progress); };
    options.fetch.on_stall = [&bar](const absl::Status& reason) {
      bar.Say(StallLine("fetch", reason));
    };
    result = FetchToFile(*client, arguments.model, arguments.file, options);
  }
  WDELTA_RETURN_IF_ERROR(result.status());
  std::vector<std::string> texts = arguments.slices;
  texts.insert(texts.end(), arguments.shards.begin(), arguments.shards.end());
  for (size_t i = 0; i < texts.size(); ++i) {
    WarnOfUnused(options.slices[i], texts[i], result->tensors);
  }
  size_t slice_count = 0;
  for (const WrittenTensor& written : result->tensors) slice_count += written.slice.has_value();
  if (session.is_json()) {
    Json tensors = Json::array();
    for (const WrittenTensor& written : result->tensors) tensors.push_back(ToJson(written));
    session.PrintJson({{"model", ModelJson(result->model)},
                       {"file", arguments.file},
                       {"file_bytes", result->file_bytes},
                       {"tensors", tensors}});
  }
  session.Say(absl::StrCat(arguments.file, "  ", HumanBytes(result->file_bytes), "  ",
                           result->tensors.size(), " tensors of ", result->model.name(), ", ",
                           slice_count, " of them in part"));
  return absl::OkStatus();
}

}  // namespace

void AddFetchCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "fetch",
                        "Write tensors, or slices of them, to one safetensors file", kExamples, Add,
                        Run);
}

}  // namespace wdelta
