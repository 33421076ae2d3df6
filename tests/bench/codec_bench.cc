// Size, speed and quality of the codec on pairs of real checkpoints, beside its peers in
// the same run. The tables explain themselves; see lossless_table.cc and
// lossy_table.cc.
//
// Usage: wdelta_codec_bench [OPTION]... [FIXTURES | PARENT TARGET [PARENT TARGET]...]
//   --rounds=N     speeds are the best of N rounds (default 3)
//   --python=PATH  interpreter with the packages of requirements.txt; without it, peers that
//                  are Python packages are left out
//   --out=FOLDER   for files that are written on the way, and the plot (default build/bench)
//   --lossless, --lossy  only these tables
// FIXTURES: a folder that holds tinylm-14m and tinylm-14m-slice; all their pairs are run.
// Without a folder, the small models of tests/data.
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/bench/fail.h"
#include "tests/bench/lossless_table.h"
#include "tests/bench/lossy_table.h"

namespace wdelta::bench {
namespace {

using FolderPair = std::pair<std::string, std::string>;  // parent, target

std::vector<FolderPair> PairsOfFixtures(const std::string& folder) {
  const std::string model = folder + "/tinylm-14m/";
  const std::string slice = folder + "/tinylm-14m-slice/";
  return {{model + "base", model + "ft-kjv"},          {model + "base", model + "ft-perl"},
          {model + "ft-kjv", model + "ft-kjv-2"},      {model + "base", model + "ft-kjv-2"},
          {model + "ft-perl", model + "rl-step"},      {slice + "fp32/base", slice + "fp32/ft-kjv"},
          {slice + "fp16/base", slice + "fp16/ft-kjv"}};
}

std::vector<FolderPair> PairsOfFolders(const std::vector<std::string>& folders) {
  if (folders.empty()) {
    const std::string model = std::string(WDELTA_TEST_DATA_DIR) + "/tinylm-1m/";
    return {{model + "base", model + "ft-kjv"}, {model + "ft-kjv", model + "ft-kjv-2"}};
  }
  if (folders.size() == 1) return PairsOfFixtures(folders[0]);
  if (folders.size() % 2 != 0) Die("expected PARENT TARGET [PARENT TARGET]..., or one folder");
  std::vector<FolderPair> pairs;
  for (size_t i = 0; i < folders.size(); i += 2) pairs.emplace_back(folders[i], folders[i + 1]);
  return pairs;
}

struct What {
  bool lossless = true;
  bool lossy = true;
};

void Run(const What& what, const BenchOptions& options, const std::vector<FolderPair>& folders) {
  std::filesystem::create_directories(options.output_folder);
  if (what.lossless) std::printf("%s", LosslessLegend().c_str());
  for (const auto& [parent, target] : folders) {
    if (what.lossless) PrintLosslessTable(ValueOrDie(LoadPair(parent, target)), options);
  }
  if (what.lossy) std::printf("%s", LossyLegend().c_str());
  for (const auto& [parent, target] : folders) {
    const CheckpointPair pair = ValueOrDie(LoadPair(parent, target));
    if (what.lossy && HasQuality(pair)) PrintLossyTable(pair, options);
  }
}

}  // namespace
}  // namespace wdelta::bench

int main(int argc, char** argv) {
  using wdelta::bench::Die;
  wdelta::bench::BenchOptions options;
  options.output_folder = "build/bench";
  wdelta::bench::What what;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--rounds=")) {
      if (!absl::SimpleAtoi(argument, &options.rounds) || options.rounds < 1) {
        Die("--rounds: expected a number >= 1");
      }
    } else if (absl::ConsumePrefix(&argument, "--python=")) {
      options.python = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--out=")) {
      options.output_folder = std::string(argument);
    } else if (argument == "--lossless") {
      what = {.lossless = true, .lossy = false};
    } else if (argument == "--lossy") {
      what = {.lossless = false, .lossy = true};
    } else if (absl::StartsWith(argument, "--")) {
      Die(absl::StrCat("no option ", argument));
    } else {
      folders.emplace_back(argument);
    }
  }
  wdelta::bench::Run(what, options, wdelta::bench::PairsOfFolders(folders));
  return 0;
}
