// Size and speed of the chunk codec on pairs of real checkpoints, beside two peers'
// schemes in the same run, on one thread, from memory to memory:
//
//   ours      ChunkCodec, chunks of limits::kChunkBytes; 17 bytes of index a chunk counted
//   bitx      BitX-like: XOR with the parent, byte planes, zstd level 3, a whole tensor at once
//   tensorx   TensorX-like: the same with zstd level 1
//   transform the codec's lane arithmetic and planes alone, no entropy coder
//
// Usage: wdelta_codec_bench [--rounds=N] PARENT TARGET [PARENT TARGET]...
// Each argument is a checkpoint folder. Speeds are in GB/s of decoded bytes, the best of N rounds
// (default 5); bits are of payload per tensor element. Every scheme is decoded and compared.
#include <zstd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/codec.h"
#include "storage/codec/kernels/lane_kernels.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

constexpr uint64_t kIndexBytesPerChunk = 1 + 4 + 4 + 8;

struct Tensor {
  DType dtype = DType::kU8;
  uint64_t elements = 0;
  std::string target;
  std::string parent;  // empty, or as long as the target
};

struct Result {
  uint64_t stored_bytes = 0;
  double encode_seconds = 1e300;
  double decode_seconds = 1e300;
};

// One way to code a tensor; `decode` returns the target.
struct Scheme {
  std::string name;
  std::function<std::vector<EncodedChunk>(const Tensor&)> encode;
  std::function<void(const Tensor&, const std::vector<EncodedChunk>&, std::string&)> decode;
  uint64_t overhead_per_chunk = 0;
};

[[noreturn]] void Die(const std::string& message) {
  std::fprintf(stderr, "wdelta_codec_bench: %s\n", message.c_str());
  std::exit(1);
}

using TensorMap = std::map<std::string, std::pair<TensorInfo, std::string>>;

absl::StatusOr<TensorMap> LoadFolder(const std::string& folder) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(folder));
  TensorMap tensors;
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, ".safetensors")) continue;
    WDELTA_ASSIGN_OR_RETURN(const auto file, files->OpenForRead(absl::StrCat(folder, "/", name)));
    WDELTA_ASSIGN_OR_RETURN(const SafetensorsLayout layout, ReadSafetensorsLayout(*file));
    for (const TensorInfo& tensor : layout.tensors) {
      std::string bytes(tensor.size_bytes, '\0');
      WDELTA_RETURN_IF_ERROR(file->Read(tensor.offset_bytes, bytes.data(), bytes.size()));
      tensors[tensor.name] = {tensor, std::move(bytes)};
    }
  }
  if (tensors.empty()) return absl::NotFoundError(absl::StrCat(folder, ": no tensors"));
  return tensors;
}

std::vector<Tensor> LoadPair(const std::string& parent_folder, const std::string& target_folder) {
  const absl::StatusOr<TensorMap> parents = LoadFolder(parent_folder);
  const absl::StatusOr<TensorMap> targets = LoadFolder(target_folder);
  if (!parents.ok()) Die(parents.status().ToString());
  if (!targets.ok()) Die(targets.status().ToString());
  std::vector<Tensor> tensors;
  for (const auto& [name, target] : *targets) {
    if (target.second.empty()) continue;
    Tensor tensor{target.first.dtype, ElementCount(target.first.shape).value_or(0), target.second,
                  ""};
    const auto parent = parents->find(name);
    if (parent != parents->end() && parent->second.second.size() == tensor.target.size()) {
      tensor.parent = parent->second.second;
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

const uint8_t* Bytes(const std::string& bytes, size_t at = 0) {
  return reinterpret_cast<const uint8_t*>(bytes.data()) + at;
}
uint8_t* Bytes(std::string& bytes, size_t at = 0) {
  return reinterpret_cast<uint8_t*>(bytes.data()) + at;
}

Scheme OurScheme(ChunkCodec& codec) {
  Scheme scheme;
  scheme.name = "ours";
  scheme.overhead_per_chunk = kIndexBytesPerChunk;
  const auto parent_of = [](const Tensor& tensor, size_t at) -> std::optional<absl::string_view> {
    if (tensor.parent.empty()) return std::nullopt;
    return absl::string_view(tensor.parent).substr(at, limits::kChunkBytes);
  };
  scheme.encode = [&codec, parent_of](const Tensor& tensor) {
    std::vector<EncodedChunk> chunks;
    for (size_t at = 0; at < tensor.target.size(); at += limits::kChunkBytes) {
      absl::StatusOr<EncodedChunk> chunk = codec.Encode(
          LaneFormatOf(tensor.dtype),
          absl::string_view(tensor.target).substr(at, limits::kChunkBytes), parent_of(tensor, at));
      if (!chunk.ok()) Die(chunk.status().ToString());
      chunks.push_back(*std::move(chunk));
    }
    return chunks;
  };
  scheme.decode = [&codec, parent_of](const Tensor& tensor, const std::vector<EncodedChunk>& chunks,
                                      std::string& out) {
    size_t at = 0;
    for (const EncodedChunk& chunk : chunks) {
      const size_t size = std::min<size_t>(limits::kChunkBytes, out.size() - at);
      const absl::Status status =
          codec.Decode(LaneFormatOf(tensor.dtype), chunk.mode, chunk.payload, parent_of(tensor, at),
                       &out[at], size);
      if (!status.ok()) Die(status.ToString());
      at += size;
    }
  };
  return scheme;
}

// Planes of a whole tensor, back to back in `planes`.
kernels::Planes WholePlanes(std::string& planes, int lane_bytes) {
  kernels::Planes pointers{};
  const size_t lanes = planes.size() / lane_bytes;
  for (int p = 0; p < lane_bytes; ++p) pointers[p] = Bytes(planes, p * lanes);
  return pointers;
}

void XorInto(const std::string& parent, std::string& bytes) {
  const char* __restrict from = parent.data();
  char* __restrict to = bytes.data();
  for (size_t i = 0; i < parent.size(); ++i) to[i] = static_cast<char>(to[i] ^ from[i]);
}

// XOR, planes, zstd; one EncodedChunk a plane. Buffers are reused as in our codec.
Scheme XorScheme(const std::string& name, int level, ZSTD_CCtx* compressor,
                 ZSTD_DCtx* decompressor) {
  Scheme scheme;
  scheme.name = name;
  scheme.encode = [level, compressor, delta = std::string(), planes = std::string(),
                   frame = std::string()](const Tensor& tensor) mutable {
    const int lane_bytes = LaneBytes(tensor.dtype);
    delta = tensor.target;
    XorInto(tensor.parent, delta);
    planes.resize(delta.size());
    const size_t lanes = delta.size() / lane_bytes;
    kernels::SplitLanes({lane_bytes, false}, Bytes(delta), lanes, WholePlanes(planes, lane_bytes));
    std::vector<EncodedChunk> chunks;
    for (int p = 0; p < lane_bytes; ++p) {
      frame.resize(std::max(frame.size(), ZSTD_compressBound(lanes)));
      const size_t size = ZSTD_compressCCtx(compressor, frame.data(), frame.size(),
                                            &planes[p * lanes], lanes, level);
      if (ZSTD_isError(size)) Die(ZSTD_getErrorName(size));
      chunks.push_back({ChunkMode::kPlanes, frame.substr(0, size)});
    }
    return chunks;
  };
  scheme.decode = [decompressor, planes = std::string()](const Tensor& tensor,
                                                         const std::vector<EncodedChunk>& chunks,
                                                         std::string& out) mutable {
    const int lane_bytes = LaneBytes(tensor.dtype);
    const size_t lanes = out.size() / lane_bytes;
    planes.resize(out.size());
    for (int p = 0; p < lane_bytes; ++p) {
      ZSTD_decompressDCtx(decompressor, &planes[p * lanes], lanes, chunks[p].payload.data(),
                          chunks[p].payload.size());
    }
    const kernels::Planes pointers = WholePlanes(planes, lane_bytes);
    kernels::ConstPlanes const_pointers{};
    std::copy(pointers.begin(), pointers.end(), const_pointers.begin());
    kernels::MergeLanes({lane_bytes, false}, const_pointers, lanes, Bytes(out));
    XorInto(tensor.parent, out);
  };
  return scheme;
}

// A whole tensor at once: memory bandwidth is part of the figure.
Scheme TransformScheme() {
  Scheme scheme;
  scheme.name = "transform";
  scheme.encode = [](const Tensor& tensor) {
    std::vector<EncodedChunk> chunks(1, {ChunkMode::kDeltaPlanes, ""});
    std::string& planes = chunks[0].payload;
    planes.resize(tensor.target.size());
    if (tensor.parent.empty()) return chunks;
    const LaneFormat format = LaneFormatOf(tensor.dtype);
    const size_t all = tensor.target.size() / format.lane_bytes;
    kernels::SplitDelta(format, Bytes(tensor.target), Bytes(tensor.parent), all,
                        WholePlanes(planes, format.lane_bytes));
    return chunks;
  };
  scheme.decode = [](const Tensor& tensor, const std::vector<EncodedChunk>& chunks,
                     std::string& out) {
    if (tensor.parent.empty()) {
      out = tensor.target;
      return;
    }
    const LaneFormat format = LaneFormatOf(tensor.dtype);
    const size_t lanes = out.size() / format.lane_bytes;
    kernels::ConstPlanes planes{};
    for (int p = 0; p < format.lane_bytes; ++p) planes[p] = Bytes(chunks[0].payload, p * lanes);
    kernels::MergeDelta(format, planes, Bytes(tensor.parent), lanes, Bytes(out));
  };
  return scheme;
}

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Result Measure(const Scheme& scheme, const std::vector<Tensor>& tensors, int rounds) {
  Result result;
  std::vector<std::string> outputs;
  for (const Tensor& tensor : tensors) outputs.emplace_back(tensor.target.size(), '\0');
  for (int round = 0; round < rounds; ++round) {
    double encode_seconds = 0;
    double decode_seconds = 0;
    result.stored_bytes = 0;
    for (size_t t = 0; t < tensors.size(); ++t) {
      std::vector<EncodedChunk> chunks;
      encode_seconds += SecondsOf([&] { chunks = scheme.encode(tensors[t]); });
      decode_seconds += SecondsOf([&] { scheme.decode(tensors[t], chunks, outputs[t]); });
      for (const EncodedChunk& chunk : chunks) {
        result.stored_bytes += chunk.payload.size() + scheme.overhead_per_chunk;
      }
      if (outputs[t] != tensors[t].target) Die(absl::StrCat(scheme.name, " is not exact"));
    }
    result.encode_seconds = std::min(result.encode_seconds, encode_seconds);
    result.decode_seconds = std::min(result.decode_seconds, decode_seconds);
  }
  return result;
}

void RunPair(const std::string& parent, const std::string& target, int rounds) {
  const std::vector<Tensor> tensors = LoadPair(parent, target);
  uint64_t elements = 0;
  uint64_t raw_bytes = 0;
  for (const Tensor& tensor : tensors) {
    elements += tensor.elements;
    raw_bytes += tensor.target.size();
  }
  std::printf("%s against %s: %zu tensors, %.1f MB\n", target.c_str(), parent.c_str(),
              tensors.size(), static_cast<double>(raw_bytes) / 1e6);
  std::printf("  %-10s %12s %8s %10s %12s %12s\n", "scheme", "bits/weight", "ratio", "of bitx",
              "encode GB/s", "decode GB/s");
  ChunkCodec codec;
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> compressor(ZSTD_createCCtx(),
                                                                      &ZSTD_freeCCtx);
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> decompressor(ZSTD_createDCtx(),
                                                                        &ZSTD_freeDCtx);
  uint64_t bitx_bytes = 0;
  for (const Scheme& scheme : {XorScheme("bitx", 3, compressor.get(), decompressor.get()),
                               XorScheme("tensorx", 1, compressor.get(), decompressor.get()),
                               OurScheme(codec), TransformScheme()}) {
    const Result result = Measure(scheme, tensors, rounds);
    if (bitx_bytes == 0) bitx_bytes = result.stored_bytes;
    const double stored = static_cast<double>(result.stored_bytes);
    const double raw = static_cast<double>(raw_bytes);
    std::printf("  %-10s %12.3f %8.3f %10.3f %12.2f %12.2f\n", scheme.name.c_str(),
                8 * stored / static_cast<double>(elements), raw / stored,
                stored / static_cast<double>(bitx_bytes), raw / result.encode_seconds / 1e9,
                raw / result.decode_seconds / 1e9);
  }
}

}  // namespace
}  // namespace wdelta

int main(int argc, char** argv) {
  int rounds = 5;
  int first = 1;
  if (argc > 1 && absl::StartsWith(argv[1], "--rounds=")) {
    if (!absl::SimpleAtoi(argv[1] + 9, &rounds) || rounds < 1)
      wdelta::Die("--rounds: a number >= 1");
    first = 2;
  }
  if (argc == first) {
    const std::string data = std::string(WDELTA_TEST_DATA_DIR) + "/tinylm-1m/";
    wdelta::RunPair(data + "base", data + "ft-kjv", rounds);
    wdelta::RunPair(data + "ft-kjv", data + "ft-kjv-2", rounds);
    return 0;
  }
  if (argc - first < 2 || (argc - first) % 2 != 0) {
    wdelta::Die("usage: wdelta_codec_bench [--rounds=N] PARENT TARGET [PARENT TARGET]...");
  }
  for (int i = first; i + 1 < argc; i += 2) wdelta::RunPair(argv[i], argv[i + 1], rounds);
  return 0;
}
