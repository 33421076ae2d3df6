// The check of index JSON against a checkpoint of two shards. What it accepts names only
// tensors that are there.
#include <cstdint>
#include <cstdlib>

#include "absl/strings/match.h"
#include "storage/tensor/checkpoint.h"

namespace {

// `a` in the first shard, `b` in the second.
wdelta::Checkpoint TwoShards() {
  wdelta::Checkpoint checkpoint;
  for (const char* name : {"a", "b"}) {
    const auto file = static_cast<uint32_t>(checkpoint.files.size());
    checkpoint.files.push_back({absl::StrCat("s/", file, ".safetensors"), 64, {}, true});
    wdelta::SafetensorsLayout layout;
    layout.header_bytes = 60;
    wdelta::TensorInfo tensor;
    tensor.name = name;
    tensor.dtype = wdelta::DType::kU8;
    tensor.shape = {4};
    tensor.offset_bytes = 60;
    tensor.size_bytes = 4;
    layout.tensors.push_back(tensor);
    wdelta::AppendStreams(file, 64, &layout, checkpoint.streams);
  }
  return checkpoint;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const wdelta::Checkpoint checkpoint = TwoShards();
  const absl::string_view json(reinterpret_cast<const char*>(data), size);
  const absl::Status status =
      wdelta::ValidateIndex("s/model.safetensors.index.json", json, checkpoint);
  if (status.ok() && !absl::StrContains(json, "weight_map")) {
    // Only escapes can hide the word.
    if (!absl::StrContains(json, "\\u")) std::abort();
  }
  if (!status.ok() && !absl::IsInvalidArgument(status)) std::abort();
  return 0;
}
