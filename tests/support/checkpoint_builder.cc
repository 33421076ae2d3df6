#include "tests/support/checkpoint_builder.h"

#include <cstring>
#include <random>

#include "storage/tensor/safetensors.h"

namespace wdelta::testing {
namespace {

uint64_t ElementsOf(const std::vector<uint64_t>& shape) {
  uint64_t count = 1;
  for (const uint64_t dimension : shape) count *= dimension;
  return count;
}

}  // namespace

TestTensor RandomWeights(const std::string& name, const std::vector<uint64_t>& shape,
                         uint32_t seed) {
  std::mt19937 random(seed);
  TestTensor tensor{name, DType::kBF16, shape, {}};
  for (uint64_t i = 0; i < ElementsOf(shape); ++i) {
    // Uniform in about ±0.06: the upper half of a float is its BF16.
    const float value = (static_cast<float>(random() % 65536) - 32768.0F) / 524288.0F;
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    tensor.data.push_back(static_cast<char>(bits >> 16));
    tensor.data.push_back(static_cast<char>(bits >> 24));
  }
  return tensor;
}

TestTensor FineTuned(const TestTensor& tensor, uint32_t seed) {
  std::mt19937 random(seed);
  TestTensor tuned = tensor;
  for (size_t i = 0; i + 1 < tuned.data.size(); i += 2) {
    if (random() % 8 == 0) tuned.data[i] = static_cast<char>(tuned.data[i] ^ (random() % 4));
  }
  return tuned;
}

std::string BuildSafetensors(const std::vector<TestTensor>& tensors) {
  std::vector<TensorInfo> infos;
  std::string data;
  for (const TestTensor& tensor : tensors) {
    infos.push_back({tensor.name, tensor.dtype, tensor.shape});
    data += tensor.data;
  }
  return WriteSafetensorsHeader(infos, {{"format", "pt"}}).value() + data;
}

TestFiles SmallCheckpoint(uint32_t seed, uint32_t fine_tune_seed) {
  std::vector<TestTensor> tensors = {
      RandomWeights("embed.weight", {512, 640}, seed),
      RandomWeights("layers.0.norm.weight", {64}, seed + 1),
      RandomWeights("layers.0.up.weight", {64, 128}, seed + 2),
      RandomWeights("layers.1.norm.weight", {0, 64}, seed + 3),
      RandomWeights("scale", {}, seed + 4),
  };
  if (fine_tune_seed != 0) {
    for (TestTensor& tensor : tensors) tensor = FineTuned(tensor, fine_tune_seed);
  }
  return {{"model.safetensors", BuildSafetensors(tensors)},
          {"config.json", "{\"hidden_size\": 640}\n"}};
}

}  // namespace wdelta::testing
