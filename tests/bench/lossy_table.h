// The sweep over lossy rates for one pair of checkpoints, beside deltatensors' int4.
#pragma once

#include <string>

#include "tests/bench/checkpoint_pair.h"
#include "tests/bench/lossless_table.h"

namespace wdelta::bench {

// What the rows and columns mean: printed once.
std::string LossyLegend();

// Whether the target is a byte-level LLaMA model that quality can be measured on.
bool HasQuality(const CheckpointPair& pair);

// Prints sizes, errors, quality and times, and writes a plot into the output folder.
// Needs HasQuality.
void PrintLossyTable(const CheckpointPair& pair, const BenchOptions& options);

}  // namespace wdelta::bench
