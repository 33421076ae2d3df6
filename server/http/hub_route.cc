#include "server/http/hub_route.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/base/utf8.h"

namespace wdelta {
namespace {

using Kind = HubRoute::Kind;
using Segments = std::vector<std::string>;

absl::Status BadTarget(absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_TARGET",
                   absl::StrCat("request target: ", why));
}

enum class Plus { kLiteral, kSpace };

absl::StatusOr<std::string> PercentDecode(absl::string_view text, Plus plus) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const absl::string_view digits = text.substr(i + 1, 2);
      if (digits.size() != 2 || !absl::ascii_isxdigit(static_cast<unsigned char>(digits[0])) ||
          !absl::ascii_isxdigit(static_cast<unsigned char>(digits[1]))) {
        return BadTarget("expected two hex digits after '%'");
      }
      c = absl::HexStringToBytes(digits)[0];
      i += 2;
    } else if (c == '+' && plus == Plus::kSpace) {
      c = ' ';
    }
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      return BadTarget("expected no control character");
    }
    decoded.push_back(c);
  }
  if (!IsValidUtf8(decoded)) return BadTarget("expected UTF-8");
  return decoded;
}

std::string Join(const Segments& segments, size_t begin, size_t end) {
  return absl::StrJoin(segments.begin() + static_cast<ptrdiff_t>(begin),
                       segments.begin() + static_cast<ptrdiff_t>(end), "/");
}

std::string JoinFrom(const Segments& segments, size_t begin) {
  return begin >= segments.size() ? "" : Join(segments, begin, segments.size());
}

struct ApiWord {
  absl::string_view word;
  Kind kind;
  bool has_revision;
};
constexpr ApiWord kApiWords[] = {
    {"revision", Kind::kInfo, true},        {"tree", Kind::kTree, true},
    {"paths-info", Kind::kPathsInfo, true}, {"refs", Kind::kRefs, false},
    {"commits", Kind::kCommits, true},      {"preupload", Kind::kPreupload, true},
    {"commit", Kind::kCommit, true},        {"tag", Kind::kTag, true},
    {"branch", Kind::kBranch, true},
};

// Of `/api/models/…`. A name has one or two parts; where both readings are possible, the
// one with the shorter name holds.
void ParseApi(const Segments& segments, HubRoute& route) {
  constexpr size_t kBegin = 2;
  for (size_t at = kBegin + 1; at <= kBegin + 2 && at < segments.size(); ++at) {
    for (const ApiWord& word : kApiWords) {
      if (segments[at] != word.word || (word.has_revision && at + 1 >= segments.size())) continue;
      route.kind = word.kind;
      route.repo = Join(segments, kBegin, at);
      if (word.has_revision) route.revision = segments[at + 1];
      route.path = JoinFrom(segments, at + 1 + (word.has_revision ? 1 : 0));
      if (word.kind != Kind::kTree && !route.path.empty()) route.kind = Kind::kUnknown;
      return;
    }
  }
  if (segments.size() != kBegin + 1 && segments.size() != kBegin + 2) return;
  route.kind = Kind::kInfo;
  route.repo = JoinFrom(segments, kBegin);
}

void ParseResolve(const Segments& segments, HubRoute& route) {
  for (size_t at = 1; at <= 2 && at + 1 < segments.size(); ++at) {
    if (segments[at] != "resolve") continue;
    route.kind = Kind::kResolve;
    route.repo = Join(segments, 0, at);
    route.revision = segments[at + 1];
    route.path = JoinFrom(segments, at + 2);
    return;
  }
}

// `/{repo}.git/info/lfs/…`; false: it is not.
bool ParseLfs(const Segments& segments, HubRoute& route) {
  const size_t count = segments.size();
  for (size_t at = 1; at <= 2 && at + 2 < count; ++at) {
    const std::string repo = Join(segments, 0, at);
    if (!absl::EndsWith(repo, ".git") || Join(segments, at, at + 2) != "info/lfs") continue;
    const std::string rest = JoinFrom(segments, at + 2);
    route.repo = repo.substr(0, repo.size() - 4);
    if (rest == "verify") {
      route.kind = Kind::kLfsVerify;
    } else if (rest == "objects/batch") {
      route.kind = Kind::kLfsBatch;
    } else if (count == at + 4 && segments[at + 2] == "objects") {
      route.kind = Kind::kLfsObject;
      route.path = segments[at + 3];
    }
    return true;
  }
  return false;
}

}  // namespace

std::string HubRoute::Query(absl::string_view key) const {
  const auto found = std::find_if(query.begin(), query.end(),
                                  [&](const auto& parameter) { return parameter.first == key; });
  return found == query.end() ? "" : found->second;
}

bool HubRoute::IsTrue(absl::string_view key) const {
  const std::string value = Query(key);
  return absl::EqualsIgnoreCase(value, "true") || value == "1";
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ParseForm(absl::string_view text) {
  std::vector<std::pair<std::string, std::string>> parameters;
  for (const absl::string_view part : absl::StrSplit(text, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> split =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    WDELTA_ASSIGN_OR_RETURN(std::string key, PercentDecode(split.first, Plus::kSpace));
    WDELTA_ASSIGN_OR_RETURN(std::string value, PercentDecode(split.second, Plus::kSpace));
    parameters.emplace_back(std::move(key), std::move(value));
  }
  return parameters;
}

absl::StatusOr<HubRoute> ParseHubTarget(absl::string_view target) {
  if (target.size() > http_limits::kMaxTargetBytes) {
    return BadTarget(absl::StrCat("expected at most ", http_limits::kMaxTargetBytes,
                                  " bytes, found ", target.size()));
  }
  if (!absl::StartsWith(target, "/")) return BadTarget("expected a path");
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(target, absl::MaxSplits('?', 1));
  HubRoute route;
  WDELTA_ASSIGN_OR_RETURN(route.query, ParseForm(parts.second));
  Segments segments;
  for (const absl::string_view segment : absl::StrSplit(parts.first.substr(1), '/')) {
    WDELTA_ASSIGN_OR_RETURN(std::string decoded, PercentDecode(segment, Plus::kLiteral));
    segments.push_back(std::move(decoded));
  }
  if (segments.size() > 1 && segments.back().empty()) segments.pop_back();
  if (segments[0] == "healthz" && segments.size() == 1) {
    route.kind = Kind::kHealth;
  } else if (segments[0] != "api" || segments.size() < 2) {
    if (!ParseLfs(segments, route)) ParseResolve(segments, route);
  } else if (segments[1] == "models") {
    ParseApi(segments, route);
  } else if (segments[1] == "whoami-v2" && segments.size() == 2) {
    route.kind = Kind::kWhoAmI;
  } else if (segments[1] == "repos" && segments.size() == 3 && segments[2] == "create") {
    route.kind = Kind::kCreateRepo;
  } else if (segments[1] == "validate-yaml" && segments.size() == 2) {
    route.kind = Kind::kValidateYaml;
  } else if (segments[1] == "telemetry") {
    route.kind = Kind::kTelemetry;
  }
  return route;
}

std::string PercentEncode(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("-._~/", c)) {
      encoded.push_back(c);
    } else {
      absl::StrAppend(&encoded, "%", absl::AsciiStrToUpper(absl::BytesToHexString({&c, 1})));
    }
  }
  return encoded;
}

}  // namespace wdelta
