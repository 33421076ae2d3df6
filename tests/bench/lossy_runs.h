// One row of the lossy table: a model was saved, loaded and compared with the original.
#pragma once

#include <optional>
#include <string>

#include "storage/codec/lossy.h"
#include "tests/bench/checkpoint_pair.h"
#include "tests/bench/lossless_table.h"
#include "tests/bench/quality.h"

namespace wdelta::bench {

struct LossyRun {
  std::string name;
  double file_bytes = 0;
  double relative_error = 0;  // |error| / |delta| of all tensors together, as it was loaded
  double max_error = 0;       // absolute
  Quality quality;
  double save_seconds = 0;      // wall time with all cores, from folders to a file
  double load_seconds = 0;      // wall time with all cores, from a file and a folder to memory
  double save_cpu_seconds = 0;  // of all threads, mean of the rounds
  double load_cpu_seconds = 0;
  double encode_gb_per_s = 0;  // of the chunk encoder, by CPU time of one thread
  double decode_gb_per_s = 0;
};

// Saves with the codec, loads and compares.
class LossyRunner {
 public:
  // Takes the texts' folder from the build. Ends the program when the model has no
  // config.json to run it by.
  LossyRunner(const CheckpointPair& pair, const BenchOptions& options);

  // Times are the best of `rounds`.
  LossyRun RunOurs(const std::string& name, const TensorPolicy& policy, Effort effort,
                   int rounds) const;
  // The parent itself, as though the delta were zero.
  LossyRun RunParent() const;
  // int4 as its package gives it (F32), and rounded to the target's dtype. Empty, with the
  // reason printed, when the package cannot be run.
  std::optional<std::pair<LossyRun, LossyRun>> RunInt4() const;

  const QualityReference& reference() const { return reference_; }
  const std::string& text_path() const { return text_path_; }

 private:
  LossyRun Compare(const std::string& name, const TensorsByName& reconstructed) const;

  const CheckpointPair& pair_;
  const BenchOptions& options_;
  std::string text_path_;
  QualityReference reference_;
};

}  // namespace wdelta::bench
