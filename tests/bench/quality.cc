#include "tests/bench/quality.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace wdelta::bench {

absl::StatusOr<QualityReference> QualityReference::Create(const LlamaConfig& config,
                                                          const TensorsByName& original,
                                                          const std::string& text) {
  if (config.vocabulary < 256 || config.max_positions == 0 || text.empty()) {
    return absl::InvalidArgumentError("quality is measured on byte-level models and some text");
  }
  QualityReference reference;
  reference.config_ = config;
  for (size_t at = 0; at < text.size(); at += config.max_positions) {
    const std::string part = text.substr(at, config.max_positions);
    std::vector<int> window{config.begin_token};
    for (const char c : part) {
      window.push_back(static_cast<uint8_t>(c));
      reference.next_bytes_.push_back(static_cast<uint8_t>(c));
    }
    window.pop_back();  // nothing is predicted after the last byte
    reference.windows_.push_back(std::move(window));
  }
  WDELTA_ASSIGN_OR_RETURN(const Llama model, Llama::Create(config, original));
  reference.original_ = reference.LogProbabilities(model);
  return reference;
}

std::vector<double> QualityReference::LogProbabilities(const Llama& model) const {
  std::vector<double> result;
  result.reserve(token_count() * config_.vocabulary);
  for (const std::vector<int>& window : windows_) {
    const std::vector<float> logits = model.Logits(window);
    for (auto row = logits.begin(); row != logits.end();
         row += static_cast<ptrdiff_t>(config_.vocabulary)) {
      const auto row_end = row + static_cast<ptrdiff_t>(config_.vocabulary);
      const double largest = *std::max_element(row, row_end);
      double total = 0;
      for (auto logit = row; logit != row_end; ++logit) total += std::exp(*logit - largest);
      const double log_total = largest + std::log(total);
      for (auto logit = row; logit != row_end; ++logit) result.push_back(*logit - log_total);
    }
  }
  return result;
}

double QualityReference::MeanNegativeLogLikelihood(
    const std::vector<double>& log_probabilities) const {
  double sum = 0;
  for (size_t t = 0; t < token_count(); ++t) {
    sum -= log_probabilities[t * config_.vocabulary + next_bytes_[t]];
  }
  return sum / static_cast<double>(token_count());
}

absl::StatusOr<Quality> QualityReference::Compare(const TensorsByName& reconstructed) const {
  WDELTA_ASSIGN_OR_RETURN(const Llama model, Llama::Create(config_, reconstructed));
  const std::vector<double> found = LogProbabilities(model);
  Quality quality;
  for (size_t t = 0; t < token_count(); ++t) {
    const double* p = &original_[t * config_.vocabulary];
    const double* q = &found[t * config_.vocabulary];
    for (size_t v = 0; v < config_.vocabulary; ++v) {
      quality.mean_kl_nats += std::exp(p[v]) * (p[v] - q[v]);
    }
    quality.top1_agreement += std::max_element(p, p + config_.vocabulary) - p ==
                              std::max_element(q, q + config_.vocabulary) - q;
  }
  quality.mean_kl_nats /= static_cast<double>(token_count());
  quality.top1_agreement /= static_cast<double>(token_count());
  quality.perplexity_difference = std::fabs(std::exp(MeanNegativeLogLikelihood(found)) -
                                            std::exp(MeanNegativeLogLikelihood(original_)));
  return quality;
}

double QualityReference::bits_per_byte() const {
  return MeanNegativeLogLikelihood(original_) / std::log(2.0);
}

}  // namespace wdelta::bench
