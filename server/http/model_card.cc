#include "server/http/model_card.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

// A scalar without comment and quotes; empty for anything that is not a plain name.
std::string Scalar(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text.substr(0, text.find(" #")));
  for (const char* const quote : {"\"", "'"}) {
    if (text.size() >= 2 && absl::StartsWith(text, quote) && absl::EndsWith(text, quote)) {
      text = text.substr(1, text.size() - 2);
      break;
    }
  }
  return std::string(text);
}

void AddScalar(absl::string_view text, std::vector<std::string>& names) {
  std::string name = Scalar(text);
  if (!name.empty() && names.size() < limits::kMaxParents) names.push_back(std::move(name));
}

}  // namespace

std::vector<std::string> BaseModelsOf(absl::string_view card) {
  std::vector<std::string> names;
  bool is_first = true;
  bool in_list = false;
  for (absl::string_view line : absl::StrSplit(card, '\n')) {
    line = absl::StripTrailingAsciiWhitespace(line);
    if (is_first) {
      if (line != "---") return {};
      is_first = false;
      continue;
    }
    if (line == "---" || line == "...") break;
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "base_model:")) {
      names.clear();
      rest = absl::StripAsciiWhitespace(rest.substr(0, rest.find(" #")));
      in_list = rest.empty();
      if (absl::ConsumePrefix(&rest, "[")) {
        if (!absl::ConsumeSuffix(&rest, "]")) return {};
        for (const absl::string_view item : absl::StrSplit(rest, ',')) AddScalar(item, names);
      } else {
        AddScalar(rest, names);
      }
      continue;
    }
    if (!in_list) continue;
    rest = absl::StripAsciiWhitespace(line);
    if (absl::ConsumePrefix(&rest, "- ")) {
      AddScalar(rest, names);
    } else if (!rest.empty() && !absl::StartsWith(rest, "#")) {
      in_list = false;
    }
  }
  return names;
}

}  // namespace wdelta
