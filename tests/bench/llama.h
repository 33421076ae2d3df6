// A forward pass of a LLaMA model, in F32, small and plain: what a lossy delta does to a
// model is seen in its logits.
// Source: Touvron et al., "LLaMA" (arXiv:2302.13971); tensor names and the rotary layout
// (halves, not pairs) as in Hugging Face's LlamaForCausalLM.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tests/bench/checkpoint_pair.h"

namespace wdelta::bench {

struct LlamaConfig {
  size_t vocabulary = 0;
  size_t hidden = 0;
  size_t intermediate = 0;
  size_t layers = 0;
  size_t heads = 0;
  size_t key_value_heads = 0;  // divides heads
  size_t max_positions = 0;
  float norm_epsilon = 0;
  double rope_theta = 0;
  bool tied_head = false;
  int begin_token = 0;
};

// Reads config.json of a checkpoint folder. INVALID_ARGUMENT names the field.
absl::StatusOr<LlamaConfig> ReadLlamaConfig(const std::string& folder);

// Immutable: any thread may call it.
class Llama {
 public:
  // NOT_FOUND or INVALID_ARGUMENT name a tensor that is missing or has another size.
  static absl::StatusOr<Llama> Create(const LlamaConfig& config, const TensorsByName& tensors);

  // Logits after every token, tokens x vocabulary. At most max_positions tokens, each below
  // `vocabulary`.
  std::vector<float> Logits(absl::Span<const int> tokens) const;

 private:
  struct Layer {
    std::vector<float> attention_norm, query, key, value, output;
    std::vector<float> mlp_norm, gate, up, down;
  };

  explicit Llama(const LlamaConfig& config) : config_(config) {}
  std::vector<float> Normalised(const std::vector<float>& x, const std::vector<float>& scale) const;
  void Rotate(std::vector<float>& x, size_t heads) const;
  std::vector<float> Attention(const Layer& layer, const std::vector<float>& x) const;
  std::vector<float> Mlp(const Layer& layer, const std::vector<float>& x) const;

  LlamaConfig config_;
  std::vector<float> embedding_, final_norm_, head_;
  std::vector<Layer> layers_;
};

}  // namespace wdelta::bench
