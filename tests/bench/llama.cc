#include "tests/bench/llama.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "tests/bench/matrix_product.h"

namespace wdelta::bench {
namespace {

// x (rows x depth) times the transpose of weights (columns x depth).
std::vector<float> Product(const std::vector<float>& x, const std::vector<float>& weights,
                           size_t depth) {
  const size_t rows = x.size() / depth;
  const size_t columns = weights.size() / depth;
  std::vector<float> out(rows * columns);
  MultiplyByTransposed(x.data(), weights.data(), rows, columns, depth, out.data());
  return out;
}

void AddTo(std::vector<float>& x, const std::vector<float>& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

absl::Status TakeTensor(const TensorsByName& tensors, const std::string& name, size_t elements,
                        std::vector<float>& values) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return absl::NotFoundError(absl::StrCat("no tensor ", name));
  WDELTA_ASSIGN_OR_RETURN(values, ToFloats(found->second.info.dtype, found->second.bytes));
  if (values.size() == elements) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": expected ", elements, " elements, found ", values.size()));
}

}  // namespace

absl::StatusOr<LlamaConfig> ReadLlamaConfig(const std::string& folder) {
  const std::string path = folder + "/config.json";
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": no JSON object"));
  absl::Status status;
  const auto number = [&](const char* name) -> double {
    if (json.contains(name) && json[name].is_number()) return json[name].get<double>();
    status = absl::InvalidArgumentError(absl::StrCat(path, ": no number `", name, "`"));
    return 1;
  };
  const auto size = [&](const char* name) { return static_cast<size_t>(number(name)); };
  LlamaConfig config;
  config.vocabulary = size("vocab_size");
  config.hidden = size("hidden_size");
  config.intermediate = size("intermediate_size");
  config.layers = size("num_hidden_layers");
  config.heads = size("num_attention_heads");
  config.key_value_heads = size("num_key_value_heads");
  config.max_positions = size("max_position_embeddings");
  config.norm_epsilon = static_cast<float>(number("rms_norm_eps"));
  config.rope_theta = number("rope_theta");
  config.begin_token = static_cast<int>(number("bos_token_id"));
  config.tied_head = json.contains("tie_word_embeddings") && json["tie_word_embeddings"] == true;
  if (!status.ok()) return status;
  if (config.heads == 0 || config.key_value_heads == 0 || config.hidden % config.heads != 0 ||
      config.heads % config.key_value_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": heads do not divide"));
  }
  return config;
}

absl::StatusOr<Llama> Llama::Create(const LlamaConfig& config, const TensorsByName& tensors) {
  Llama model(config);
  const size_t hidden = config.hidden;
  const size_t key_value = hidden / config.heads * config.key_value_heads;
  absl::Status status;
  const auto take = [&](const std::string& name, size_t elements, std::vector<float>& values) {
    if (status.ok()) status = TakeTensor(tensors, name, elements, values);
  };
  take("model.embed_tokens.weight", config.vocabulary * hidden, model.embedding_);
  take("model.norm.weight", hidden, model.final_norm_);
  if (config.tied_head) {
    model.head_ = model.embedding_;
  } else {
    take("lm_head.weight", config.vocabulary * hidden, model.head_);
  }
  model.layers_.resize(config.layers);
  for (size_t l = 0; l < config.layers; ++l) {
    Layer& layer = model.layers_[l];
    const std::string prefix = absl::StrCat("model.layers.", l, ".");
    take(prefix + "input_layernorm.weight", hidden, layer.attention_norm);
    take(prefix + "self_attn.q_proj.weight", hidden * hidden, layer.query);
    take(prefix + "self_attn.k_proj.weight", key_value * hidden, layer.key);
    take(prefix + "self_attn.v_proj.weight", key_value * hidden, layer.value);
    take(prefix + "self_attn.o_proj.weight", hidden * hidden, layer.output);
    take(prefix + "post_attention_layernorm.weight", hidden, layer.mlp_norm);
    take(prefix + "mlp.gate_proj.weight", config.intermediate * hidden, layer.gate);
    take(prefix + "mlp.up_proj.weight", config.intermediate * hidden, layer.up);
    take(prefix + "mlp.down_proj.weight", config.intermediate * hidden, layer.down);
  }
  if (!status.ok()) return status;
  return model;
}

std::vector<float> Llama::Normalised(const std::vector<float>& x,
                                     const std::vector<float>& scale) const {
  std::vector<float> out(x.size());
  for (size_t row = 0; row < x.size(); row += config_.hidden) {
    double squares = 0;
    for (size_t i = 0; i < config_.hidden; ++i) squares += double{x[row + i]} * x[row + i];
    const double mean = squares / static_cast<double>(config_.hidden);
    const auto factor = static_cast<float>(1 / std::sqrt(mean + config_.norm_epsilon));
    for (size_t i = 0; i < config_.hidden; ++i) out[row + i] = x[row + i] * factor * scale[i];
  }
  return out;
}

// Rotary position embedding: element i of a head's first half turns with element i of its
// second half.
void Llama::Rotate(std::vector<float>& x, size_t heads) const {
  const size_t head = config_.hidden / config_.heads;
  const size_t tokens = x.size() / (heads * head);
  for (size_t i = 0; i < head / 2; ++i) {
    const double frequency =
        std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(head));
    for (size_t t = 0; t < tokens; ++t) {
      const double angle = static_cast<double>(t) * frequency;
      const auto cosine = static_cast<float>(std::cos(angle));
      const auto sine = static_cast<float>(std::sin(angle));
      for (size_t h = 0; h < heads; ++h) {
        float& first = x[(t * heads + h) * head + i];
        float& second = x[(t * heads + h) * head + i + head / 2];
        const float turned = first * cosine - second * sine;
        second = second * cosine + first * sine;
        first = turned;
      }
    }
  }
}

std::vector<float> Llama::Attention(const Layer& layer, const std::vector<float>& x) const {
  const size_t head = config_.hidden / config_.heads;
  const size_t tokens = x.size() / config_.hidden;
  const size_t key_width = config_.key_value_heads * head;
  std::vector<float> queries = Product(x, layer.query, config_.hidden);
  std::vector<float> keys = Product(x, layer.key, config_.hidden);
  const std::vector<float> values = Product(x, layer.value, config_.hidden);
  Rotate(queries, config_.heads);
  Rotate(keys, config_.key_value_heads);
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head)));
  std::vector<float> mixed(x.size(), 0);
  std::vector<float> weights(tokens);
  for (size_t h = 0; h < config_.heads; ++h) {
    const size_t key_at = h / (config_.heads / config_.key_value_heads) * head;
    for (size_t t = 0; t < tokens; ++t) {
      const float* query = &queries[t * config_.hidden + h * head];
      float largest = -INFINITY;
      for (size_t s = 0; s <= t; ++s) {
        float dot = 0;
        for (size_t i = 0; i < head; ++i) dot += query[i] * keys[s * key_width + key_at + i];
        weights[s] = dot * scale;
        largest = std::max(largest, weights[s]);
      }
      float total = 0;
      for (size_t s = 0; s <= t; ++s) total += weights[s] = std::exp(weights[s] - largest);
      float* out = &mixed[t * config_.hidden + h * head];
      for (size_t s = 0; s <= t; ++s) {
        const float weight = weights[s] / total;
        for (size_t i = 0; i < head; ++i) out[i] += weight * values[s * key_width + key_at + i];
      }
    }
  }
  return Product(mixed, layer.output, config_.hidden);
}

// SwiGLU: down(silu(gate(x)) * up(x)).
std::vector<float> Llama::Mlp(const Layer& layer, const std::vector<float>& x) const {
  std::vector<float> gated = Product(x, layer.gate, config_.hidden);
  const std::vector<float> up = Product(x, layer.up, config_.hidden);
  for (size_t i = 0; i < gated.size(); ++i) gated[i] *= up[i] / (1 + std::exp(-gated[i]));
  return Product(gated, layer.down, config_.intermediate);
}

std::vector<float> Llama::Logits(absl::Span<const int> tokens) const {
  std::vector<float> x;
  x.reserve(tokens.size() * config_.hidden);
  for (const int token : tokens) {
    const auto row = embedding_.begin() + token * static_cast<ptrdiff_t>(config_.hidden);
    x.insert(x.end(), row, row + static_cast<ptrdiff_t>(config_.hidden));
  }
  for (const Layer& layer : layers_) {
    AddTo(x, Attention(layer, Normalised(x, layer.attention_norm)));
    AddTo(x, Mlp(layer, Normalised(x, layer.mlp_norm)));
  }
  return Product(Normalised(x, final_norm_), head_, config_.hidden);
}

}  // namespace wdelta::bench
