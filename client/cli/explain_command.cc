#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta explain qwen-wiki\n"
    "  wdelta explain qwen-wiki@prod --output json\n"
    "Estimates are of a sample of the model, encoded against each candidate without loss.\n";

struct Arguments {
  std::string model;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
}

std::string Cost(double fetch_cost) {
  return fetch_cost == 0 ? "-" : absl::StrFormat("%.2f", fetch_cost);
}

std::string CandidateTable(const v1::StorageExplanation& explanation) {
  Table table({{""},
               {"AGAINST"},
               {"WHY"},
               {"ESTIMATE", Align::kRight},
               {"RATIO", Align::kRight},
               {"DEPTH", Align::kRight},
               {"COST", Align::kRight},
               {"REFUSED"}});
  for (int i = 0; i < explanation.candidates_size(); ++i) {
    const v1::StorageCandidate& candidate = explanation.candidates(i);
    const bool is_readable = candidate.refusal() != v1::StorageCandidate::UNREADABLE;
    table.AddRow({i == static_cast<int>(explanation.chosen()) ? "*" : "",
                  candidate.model().empty() ? "nothing" : candidate.name(),
                  SourceWord(candidate.source()),
                  is_readable ? HumanBytes(candidate.estimated_bytes()) : "-",
                  is_readable && candidate.estimated_bytes() > 0
                      ? HumanRatio(explanation.raw_bytes(), candidate.estimated_bytes())
                      : "-",
                  absl::StrCat(candidate.depth()), Cost(candidate.fetch_cost()),
                  RefusalWord(candidate.refusal())});
  }
  return table.Render();
}

std::string NameOf(const v1::StorageExplanation& explanation, const std::string& model) {
  const auto& candidates = explanation.candidates();
  const auto found =
      std::find_if(candidates.begin(), candidates.end(),
                   [&](const v1::StorageCandidate& other) { return other.model() == model; });
  return found == candidates.end() ? model : found->name();
}

// What follows from the measurements, in words.
std::string Conclusions(const v1::StorageExplanation& explanation) {
  std::string text = absl::StrFormat(
      "stored as %s (%s) over %s: depth %d, %s bytes decoded for each byte served\n",
      HumanBytes(explanation.stored_bytes()),
      HumanRatio(explanation.raw_bytes(), explanation.stored_bytes()),
      explanation.storage().parent().empty()
          ? "nothing"
          : Printable(NameOf(explanation, explanation.storage().parent())),
      explanation.storage().depth(), Cost(explanation.storage().fetch_cost()));
  if (explanation.candidates().empty()) {
    return absl::StrCat(text,
                        "it was stored before estimates were kept; `wdelta repack` makes "
                        "the choice again\n");
  }
  absl::StrAppendFormat(&text, "allowed were a depth of %d and a cost of %s\n",
                        explanation.max_chain_depth(), Cost(explanation.max_fetch_cost()));
  for (const std::string& parent : explanation.lineage_check().doubtful_parents()) {
    absl::StrAppend(&text, "DOUBTFUL: the declared parent ", Printable(NameOf(explanation, parent)),
                    " is no closer than nothing or an unrelated model\n");
  }
  if (!explanation.lineage_check().suggested_parent().empty()) {
    absl::StrAppend(&text, "close, and not declared: ",
                    Printable(explanation.lineage_check().suggested_parent_name()), " ",
                    explanation.lineage_check().suggested_parent(), "\n");
  }
  return text;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const v1::StorageExplanation explanation,
                          client->ExplainStorage(arguments.model));
  if (session.is_json()) {
    session.PrintJson(ExplanationJson(explanation));
    return absl::OkStatus();
  }
  if (!explanation.candidates().empty()) {
    session.Print(absl::StrCat(CandidateTable(explanation), "\n"));
  }
  session.Print(Conclusions(explanation));
  return absl::OkStatus();
}

}  // namespace

void AddExplainCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "explain",
                        "Why a model is stored as it is: storage parents, what each would cost",
                        kExamples, Add, Run);
}

}  // namespace wdelta
