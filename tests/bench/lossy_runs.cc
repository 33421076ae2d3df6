#include "tests/bench/lossy_runs.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/file_system.h"
#include "storage/wdelta/wdelta_reader.h"
#include "tests/bench/fail.h"
#include "tests/bench/folder_source.h"
#include "tests/bench/load_delta.h"
#include "tests/bench/lossy_file.h"
#include "tests/bench/python_peer.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {
namespace {

// Verses for models of verses, a manual page for models of manuals.
std::string TextFor(const std::string& folder) {
  const bool manual = absl::StrContains(folder, "perl") || absl::StrContains(folder, "rl-step");
  return absl::StrCat(WDELTA_BENCH_TEXT_DIR, manual ? "/manual.txt" : "/scripture.txt");
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text.empty()) Die(path + ": no text");
  return text;
}

bool IsLossyMode(ChunkMode mode) {
  return mode == ChunkMode::kQuantised || mode == ChunkMode::kOneBit || mode == ChunkMode::kSparse;
}

// GB/s of decoded bytes of the chunks of tensors, checksums included, on this thread.
double DecodeSpeed(const std::string& path, const CheckpointPair& pair) {
  const auto reader =
      ValueOrDie(WdeltaReader::Open(ValueOrDie(NewPosixFileSystem()->OpenForRead(path))));
  const WdeltaFile& file = reader->file();
  ChunkCodec codec;
  double seconds = 0;
  double bytes = 0;
  for (uint32_t s = 0; s < file.streams.size(); ++s) {
    const WdeltaStream& stream = file.streams[s];
    const auto tensor =
        std::find_if(pair.tensors.begin(), pair.tensors.end(), [&](const TensorPair& candidate) {
          return stream.info.kind == StreamKind::kTensor &&
                 candidate.name == stream.info.tensor.name;
        });
    if (tensor == pair.tensors.end()) continue;
    std::string decoded(stream.info.tensor.size_bytes, '\0');
    for (uint64_t c = 0; c < stream.chunk_count; ++c) {
      if (!IsLossyMode(file.chunks[stream.first_chunk + c].mode)) continue;
      const ChunkSpan span = SpanOfChunk(file, stream, c);
      const absl::string_view parent =
          absl::string_view(tensor->parent).substr(span.offset_bytes, span.size_bytes);
      const double start = ThreadSeconds();
      DieUnlessOk(reader->DecodeChunk(codec, s, c, parent, &decoded[span.offset_bytes]));
      seconds += ThreadSeconds() - start;
      bytes += static_cast<double>(span.size_bytes);
    }
  }
  return seconds > 0 ? bytes / 1e9 / seconds : 0;
}

}  // namespace

LossyRunner::LossyRunner(const CheckpointPair& pair, const BenchOptions& options)
    : pair_(pair),
      options_(options),
      text_path_(TextFor(pair.target_folder)),
      reference_(ValueOrDie(QualityReference::Create(
          ValueOrDie(ReadLlamaConfig(pair.target_folder)),
          ValueOrDie(LoadTensors(pair.target_folder)), ReadText(text_path_)))) {}

LossyRun LossyRunner::Compare(const std::string& name, const TensorsByName& reconstructed) const {
  LossyRun run;
  run.name = name;
  double squared_error = 0;
  double squared_delta = 0;
  for (const TensorPair& tensor : pair_.tensors) {
    const auto found = reconstructed.find(tensor.name);
    if (found == reconstructed.end()) Die(absl::StrCat(name, ": no tensor ", tensor.name));
    const auto target = ValueOrDie(ToFloats(tensor.dtype, tensor.target));
    const auto parent = ValueOrDie(ToFloats(tensor.dtype, tensor.parent));
    const auto output = ValueOrDie(ToFloats(found->second.info.dtype, found->second.bytes));
    if (output.size() != target.size()) Die(absl::StrCat(name, ": size of ", tensor.name));
    for (size_t i = 0; i < target.size(); ++i) {
      const double error = double{output[i]} - target[i];
      squared_error += error * error;
      run.max_error = std::max(run.max_error, std::fabs(error));
      if (parent.empty()) continue;
      const double delta = double{target[i]} - parent[i];
      squared_delta += delta * delta;
    }
  }
  run.relative_error = std::sqrt(squared_error / squared_delta);
  run.quality = ValueOrDie(reference_.Compare(reconstructed));
  return run;
}

LossyRun LossyRunner::RunOurs(const std::string& name, const TensorPolicy& policy, Effort effort,
                              int rounds) const {
  ThreadPool pool(static_cast<int>(std::thread::hardware_concurrency()));
  const std::string path = options_.output_folder + "/lossy.wdelta";
  double save_seconds = std::numeric_limits<double>::infinity();
  double load_seconds = save_seconds;
  double save_cpu_seconds = 0;
  double load_cpu_seconds = 0;
  LossyFile file;
  TensorsByName loaded;
  for (int round = 0; round < rounds; ++round) {
    const double start = WallSeconds();
    const double start_cpu = ProcessSeconds();
    if (policy.strategy == Strategy::kLossless) {
      file.file_bytes =
          ValueOrDie(SaveDelta(pair_.parent_folder, pair_.target_folder, path, &pool));
    } else {
      file = ValueOrDie(
          SaveLossyDelta(pair_.parent_folder, pair_.target_folder, policy, effort, path, &pool));
    }
    const double saved = WallSeconds();
    const double saved_cpu = ProcessSeconds();
    loaded = ValueOrDie(LoadDelta(path, pair_.parent_folder, &pool));
    save_seconds = std::min(save_seconds, saved - start);
    load_seconds = std::min(load_seconds, WallSeconds() - saved);
    save_cpu_seconds += (saved_cpu - start_cpu) / rounds;
    load_cpu_seconds += (ProcessSeconds() - saved_cpu) / rounds;
  }
  LossyRun run = Compare(name, loaded);
  run.file_bytes = static_cast<double>(file.file_bytes);
  run.save_seconds = save_seconds;
  run.load_seconds = load_seconds;
  run.save_cpu_seconds = save_cpu_seconds;
  run.load_cpu_seconds = load_cpu_seconds;
  run.encode_gb_per_s =
      ValueOrDie(LossyEncodeSpeed(pair_.parent_folder, pair_.target_folder, file.plan));
  run.decode_gb_per_s = DecodeSpeed(path, pair_);
  return run;
}

LossyRun LossyRunner::RunParent() const {
  return Compare("no delta: the parent", ValueOrDie(LoadTensors(pair_.parent_folder)));
}

std::optional<std::pair<LossyRun, LossyRun>> LossyRunner::RunInt4() const {
  const std::string folder = options_.output_folder + "/int4";
  std::filesystem::create_directories(folder);
  absl::StatusOr<std::map<std::string, double>> figures =
      absl::UnavailableError("no Python with the package (--python)");
  if (!options_.python.empty()) {
    figures =
        RunPythonPeer(options_.python, {"deltatensors", pair_.parent_folder, pair_.target_folder,
                                        absl::StrCat(options_.rounds), folder + "/int4.wdelta",
                                        folder + "/model.safetensors"});
  }
  if (!figures.ok()) {
    std::printf("  deltatensors: skipped: %s\n", std::string(figures.status().message()).c_str());
    return std::nullopt;
  }
  TensorsByName tensors = ValueOrDie(LoadTensors(folder));
  std::pair<LossyRun, LossyRun> runs;
  runs.first = Compare("deltatensors int4, as it is (F32)", tensors);
  for (const TensorPair& tensor : pair_.tensors) {
    LoadedTensor& output = tensors[tensor.name];
    output.bytes =
        ValueOrDie(FromFloats(tensor.dtype, ValueOrDie(ToFloats(output.info.dtype, output.bytes))));
    output.info.dtype = tensor.dtype;
  }
  runs.second = Compare(
      absl::StrCat("deltatensors int4, rounded to ", DTypeName(pair_.tensors[0].dtype)), tensors);
  for (LossyRun* run : {&runs.first, &runs.second}) {
    run->file_bytes = (*figures)["stored_bytes"];
    run->save_seconds = (*figures)["save_seconds"];
    run->load_seconds = (*figures)["load_seconds"];
    run->save_cpu_seconds = (*figures)["save_cpu_seconds"];
    run->load_cpu_seconds = (*figures)["load_cpu_seconds"];
  }
  return runs;
}

}  // namespace wdelta::bench
