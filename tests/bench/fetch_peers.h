// Other ways of getting the bytes of a checkpoint, for fetch_bench.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "tests/bench/fetch_cost.h"

namespace wdelta::bench {

struct FetchPeers {
  std::filesystem::path parent;  // a checkpoint folder, and one of its fine-tunes
  std::filesystem::path target;
  std::string file;            // of the target, the largest
  std::filesystem::path work;  // a folder for what they write
  std::string python;          // an interpreter that has deltatensors; empty: left out
};

// nginx with sendfile, when it is installed; `cat`; deltatensors' load of its int4 delta from
// paths, which is not the same bytes, but as many weights: as if it had moved the target's bytes.
void MeasurePeers(const FetchPeers& peers,
                  const std::function<void(const std::string& what, const Cost& cost)>& add);

}  // namespace wdelta::bench
