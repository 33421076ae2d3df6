#include "tests/bench/python_peer.h"

#include <array>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace wdelta::bench {
namespace {

std::string QuoteForShell(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace

absl::StatusOr<std::map<std::string, double>> RunPythonPeer(
    const std::string& python, const std::vector<std::string>& arguments) {
  std::string command = absl::StrCat(QuoteForShell(python), " -B ", QuoteForShell(WDELTA_PEERS_PY));
  for (const std::string& argument : arguments) {
    absl::StrAppend(&command, " ", QuoteForShell(argument));
  }
  std::FILE* pipe = popen(absl::StrCat(command, " 2>&1").c_str(), "r");
  if (pipe == nullptr) return absl::UnavailableError("no shell");
  std::map<std::string, double> figures;
  std::string last_line;
  std::array<char, 4096> buffer;
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    last_line = std::string(absl::StripAsciiWhitespace(buffer.data()));
    const std::vector<std::string> words = absl::StrSplit(last_line, ' ');
    double value = 0;
    if (words.size() == 3 && words[0] == "RESULT" && absl::SimpleAtod(words[2], &value)) {
      figures[words[1]] = value;
    }
  }
  if (pclose(pipe) != 0) return absl::UnavailableError(last_line);
  return figures;
}

}  // namespace wdelta::bench
