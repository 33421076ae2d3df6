// What a reconstructed model is worth: its next-token distributions beside the
// original's, on one text.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/bench/llama.h"

namespace wdelta::bench {

struct Quality {
  double mean_kl_nats = 0;           // KL(original || reconstructed), mean over tokens
  double top1_agreement = 0;         // share of tokens with the same likeliest next token
  double perplexity_difference = 0;  // absolute, per byte of text
};

// The original's side of the comparison. Immutable: any thread may call it.
class QualityReference {
 public:
  // A byte-level text model: tokens are the bytes of `text`, cut into windows of
  // max_positions that each begin with the begin token.
  static absl::StatusOr<QualityReference> Create(const LlamaConfig& config,
                                                 const TensorsByName& original,
                                                 const std::string& text);

  absl::StatusOr<Quality> Compare(const TensorsByName& reconstructed) const;

  double bits_per_byte() const;  // of the original on the text
  size_t token_count() const { return next_bytes_.size(); }

 private:
  // Log probabilities, in nats, after every token of every window.
  std::vector<double> LogProbabilities(const Llama& model) const;
  double MeanNegativeLogLikelihood(const std::vector<double>& log_probabilities) const;

  LlamaConfig config_;
  std::vector<std::vector<int>> windows_;
  std::vector<uint8_t> next_bytes_;  // the byte that follows each token
  std::vector<double> original_;
};

}  // namespace wdelta::bench
