#include "tests/bench/load_delta.h"

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/wdelta_reader.h"
#include "tests/bench/chunk_loader.h"
#include "tests/bench/folder_source.h"

namespace wdelta::bench {
namespace {

struct ChunkName {
  uint32_t stream = 0;
  uint64_t chunk = 0;
};

// Runs `work(i)` for all i below `count` in the threads of `pool`; `new_work` makes one
// for each thread. The first error.
template <typename NewWork>
absl::Status ForEach(ThreadPool* pool, size_t count, const NewWork& new_work) {
  std::atomic<size_t> next{0};
  std::vector<absl::Status> statuses(pool->thread_count());
  absl::BlockingCounter left(pool->thread_count());
  for (absl::Status& status : statuses) {
    pool->Schedule([&] {
      auto work = new_work();
      for (size_t i = next++; i < count && status.ok(); i = next++) status = work(i);
      left.DecrementCount();
    });
  }
  left.Wait();
  for (const absl::Status& status : statuses) WDELTA_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TensorsByName> LoadDelta(const std::string& path, const std::string& parent_folder,
                                        ThreadPool* pool) {
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr parent, OpenFolder(parent_folder, Digests::kNone));
  WDELTA_ASSIGN_OR_RETURN(auto file, NewPosixFileSystem()->OpenForRead(path));
  WDELTA_ASSIGN_OR_RETURN(const auto reader, WdeltaReader::Open(std::move(file)));
  const std::vector<WdeltaStream>& streams = reader->file().streams;
  std::vector<LoadedTensor> loaded(streams.size());
  std::vector<ChunkName> chunks;
  for (uint32_t i = 0; i < streams.size(); ++i) {
    loaded[i].info = streams[i].info.tensor;
    for (uint64_t chunk = 0; chunk < streams[i].chunk_count; ++chunk) chunks.push_back({i, chunk});
  }
  // Pages are touched for the first time in all threads at once.
  WDELTA_RETURN_IF_ERROR(ForEach(pool, loaded.size(), [&] {
    return [&](size_t i) {
      loaded[i].bytes.resize(loaded[i].info.size_bytes);
      return absl::OkStatus();
    };
  }));
  const auto new_loader = [&] {
    auto loader = std::make_shared<ChunkLoader>(reader.get(), parent.get());
    return [&, loader](size_t i) {
      const auto& [stream, chunk] = chunks[i];
      const absl::Status prepared = loader->Prepare(stream, chunk);
      if (!prepared.ok()) return prepared;
      const ChunkSpan span = SpanOfChunk(reader->file(), streams[stream], chunk);
      return loader->Decode(loaded[stream].bytes.data() + span.offset_bytes);
    };
  };
  WDELTA_RETURN_IF_ERROR(ForEach(pool, chunks.size(), new_loader));
  TensorsByName tensors;
  for (uint32_t i = 0; i < streams.size(); ++i) {
    if (streams[i].info.kind != StreamKind::kTensor) continue;
    std::string name = loaded[i].info.name;
    tensors[std::move(name)] = std::move(loaded[i]);
  }
  return tensors;
}

}  // namespace wdelta::bench
