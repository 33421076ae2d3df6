// Bit-exact ways to code a tensor against its parent, from memory to memory, on one
// thread: the project's codec, and peers' schemes rebuilt with zstd.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "storage/codec/codec.h"
#include "tests/bench/checkpoint_pair.h"

namespace wdelta::bench {

// Keeps contexts and buffers between calls: one thread at a time.
struct Scheme {
  std::function<std::vector<EncodedChunk>(const TensorPair&)> encode;
  // Fills `out`, which is as long as the target.
  std::function<void(const TensorPair&, const std::vector<EncodedChunk>&, std::string& out)> decode;
};

// ChunkCodec, in chunks of limits::kChunkBytes.
Scheme ChunkCodecScheme(Effort effort = Effort::kFast);

enum class Planes {
  kBytes,         // byte i of every element, as TensorX does
  kExponentSign,  // sign moved below the mantissa: the top plane is the exponent, as BitX does
};

// XOR with the parent, planes, each plane compressed by zstd in blocks of `block_bytes`.
Scheme XorZstdScheme(Planes planes, int level, size_t block_bytes);

struct Measured {
  uint64_t stored_bytes = 0;   // payloads alone
  double encode_gb_per_s = 0;  // decoded bytes by CPU time, best round
  double decode_gb_per_s = 0;
};

// Codes and decodes all tensors `rounds` times. Ends the program when what is decoded is
// not the target: such a figure must not be printed.
Measured Measure(const Scheme& scheme, const CheckpointPair& pair, int rounds);

}  // namespace wdelta::bench
