// The table of bit-exact schemes for one pair of checkpoints.
#pragma once

#include <string>

#include "tests/bench/checkpoint_pair.h"

namespace wdelta::bench {

struct BenchOptions {
  int rounds = 3;
  std::string python;         // interpreter with the peers' packages; empty: none
  std::string output_folder;  // for files, the plot among them
};

// What the rows and columns mean: printed once.
std::string LosslessLegend();

// Sizes and speeds of all schemes, and what our size is of theirs.
void PrintLosslessTable(const CheckpointPair& pair, const BenchOptions& options);

}  // namespace wdelta::bench
