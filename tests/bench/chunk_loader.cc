#include "tests/bench/chunk_loader.h"

#include <memory>
#include <optional>
#include <utility>

#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/codec/converted_parent.h"
#include "storage/codec/correction.h"
#include "tests/bench/folder_source.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {

absl::Status ChunkLoader::Prepare(uint32_t stream, uint64_t chunk) {
  stream_ = stream;
  chunk_ = chunk;
  if (!reader_.ChunkNeedsParent(stream, chunk)) return absl::OkStatus();
  const WdeltaStream& info = reader_.file().streams[stream];
  if (info.correction.has_value() && factors_stream_ != stream) {
    WDELTA_ASSIGN_OR_RETURN(factors_, reader_.ReadFactors(stream));
    factors_stream_ = stream;
  }
  const uint32_t parent_stream = info.parent_stream.value();
  const auto& streams = parent_.checkpoint().streams;
  if (parent_stream >= streams.size()) return absl::DataLossError("the parent lacks a stream");
  const ChunkSpan from =
      SpanInParent(SpanOfChunk(reader_.file(), info, chunk), info.info.tensor.dtype,
                   info.parent_dtype, streams[parent_stream].tensor.size_bytes);
  bytes_.resize(from.size_bytes);
  return parent_.Read(parent_stream, from.offset_bytes, bytes_.size(), bytes_.data());
}

absl::Status ChunkLoader::Decode(char* destination) {
  if (!reader_.ChunkNeedsParent(stream_, chunk_)) {
    return reader_.DecodeChunk(codec_, stream_, chunk_, std::nullopt, destination);
  }
  const WdeltaStream& info = reader_.file().streams[stream_];
  if (info.parent_dtype.has_value()) {
    ConvertNumbers(*info.parent_dtype, bytes_, info.info.tensor.dtype, converted_);
    bytes_.swap(converted_);
  }
  if (info.correction.has_value()) {
    CorrectNumbers(info.info.tensor, info.correction->form, factors_,
                   SpanOfChunk(reader_.file(), info, chunk_).offset_bytes, bytes_, scratch_);
  }
  return reader_.DecodeChunk(codec_, stream_, chunk_, bytes_, destination);
}

absl::StatusOr<double> DecodeCpuSeconds(const std::string& wdelta_path,
                                        const std::string& parent_folder) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(auto file, files->OpenForRead(wdelta_path));
  WDELTA_ASSIGN_OR_RETURN(const auto reader, WdeltaReader::Open(std::move(file)));
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr parent, OpenFolder(parent_folder, Digests::kNone));
  ChunkLoader loader(reader.get(), parent.get());
  // The same memory for all chunks, as a window of pieces is used again and again.
  std::string decoded(reader->file().chunk_bytes, '\0');
  double total = 0;
  for (uint32_t stream = 0; stream < reader->file().streams.size(); ++stream) {
    for (uint64_t chunk = 0; chunk < reader->file().streams[stream].chunk_count; ++chunk) {
      WDELTA_RETURN_IF_ERROR(loader.Prepare(stream, chunk));
      const double start = ThreadSeconds();
      WDELTA_RETURN_IF_ERROR(loader.Decode(decoded.data()));
      total += ThreadSeconds() - start;
    }
  }
  return total;
}

}  // namespace wdelta::bench
