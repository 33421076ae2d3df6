// Small checkpoints for tests, as bytes in memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "storage/tensor/dtype.h"

namespace wdelta::testing {

struct TestTensor {
  std::string name;
  DType dtype = DType::kBF16;
  std::vector<uint64_t> shape;
  std::string data;  // as many bytes as dtype and shape say
};

// Path to bytes.
using TestFiles = std::map<std::string, std::string>;

// A BF16 tensor of weights like those of a model: small, around zero, the same for
// the same seed.
TestTensor RandomWeights(const std::string& name, const std::vector<uint64_t>& shape,
                         uint32_t seed);

// The same tensor after a little training: about one weight in eight moves by a few
// units in the last place.
TestTensor FineTuned(const TestTensor& tensor, uint32_t seed);

// A safetensors file of tensors in the given order.
std::string BuildSafetensors(const std::vector<TestTensor>& tensors);

// `model.safetensors` of a few tensors, the biggest of several chunks, and a
// `config.json`. With a `fine_tune_seed` other than 0, a fine-tune of it.
TestFiles SmallCheckpoint(uint32_t seed, uint32_t fine_tune_seed = 0);

}  // namespace wdelta::testing
