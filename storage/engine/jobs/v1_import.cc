#include "storage/engine/jobs/v1_import.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/v1_source.h"
#include "storage/wdelta/v1/float_values.h"

namespace wdelta {
namespace {

// Calls `take` with the bytes of a stream, decoded in the reader's pool.
template <typename Take>
absl::Status ReadStream(Reader& reader, const ContentSourcePtr& source, uint32_t stream,
                        const std::function<absl::Status()>& alive, Take take) {
  const uint64_t size = source->checkpoint().streams[stream].tensor.size_bytes;
  const auto cursor = reader.NewCursor(source, {{stream, 0, size}});
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
    if (!piece.has_value()) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(take(piece->data));
    WDELTA_RETURN_IF_ERROR(alive());
  }
}

// Of one order of a parent's tensors: over their stored bytes and over float32.
struct ParentHashes {
  Digest stored;
  Digest widened;
};

class ParentCheck {
 public:
  ParentCheck(const V1File& file, const V1Parent& parent, std::vector<uint32_t> streams,
              Reader& reader, const std::function<absl::Status()>& alive)
      : file_(file),
        parent_(parent),
        streams_(std::move(streams)),
        reader_(reader),
        alive_(alive) {}

  // The hash that the package would find, in `found`, unless one that it would have
  // written is that of the file.
  absl::StatusOr<bool> Matches(Digest& found) {
    const Checkpoint& checkpoint = parent_.source->checkpoint();
    std::vector<V1Place> places;
    for (size_t i = 0; i < streams_.size(); ++i) {
      const StreamInfo& stream = checkpoint.streams[streams_[i]];
      places.push_back({file_.tensors[i].name, checkpoint.files[stream.file_index].path});
    }
    const std::vector<uint32_t> order = V1HashOrder(places);
    WDELTA_ASSIGN_OR_RETURN(ParentHashes hashes, Hash(order));
    found = hashes.stored;
    if (IsNamed(hashes)) return true;
    if (order == file_.stored_order) return false;
    WDELTA_ASSIGN_OR_RETURN(hashes, Hash(file_.stored_order));
    return IsNamed(hashes);
  }

 private:
  bool IsNamed(const ParentHashes& hashes) const {
    return hashes.stored == file_.parent_hash || hashes.widened == file_.parent_hash;
  }

  absl::StatusOr<ParentHashes> Hash(const std::vector<uint32_t>& order) {
    Sha256Hasher stored;
    Sha256Hasher widened;
    std::vector<float> values;
    for (const uint32_t i : order) {
      const DType dtype = parent_.source->checkpoint().streams[streams_[i]].tensor.dtype;
      const size_t element_bytes = BitsPerElement(dtype) / 8;
      stored.Update(file_.tensors[i].name);
      widened.Update(file_.tensors[i].name);
      // Pieces hold whole elements: they are cut at chunks, whose size is a
      // multiple of eight.
      const auto take = [&](absl::string_view bytes) {
        stored.Update(bytes);
        values.resize(bytes.size() / element_bytes);
        WDELTA_RETURN_IF_ERROR(WidenToFloat32(dtype, bytes, absl::MakeSpan(values)));
        widened.Update(absl::string_view(reinterpret_cast<const char*>(values.data()),
                                         values.size() * sizeof(float)));
        return absl::OkStatus();
      };
      WDELTA_RETURN_IF_ERROR(ReadStream(reader_, parent_.source, streams_[i], alive_, take));
    }
    return ParentHashes{stored.Current(), widened.Current()};
  }

  const V1File& file_;
  const V1Parent& parent_;
  const std::vector<uint32_t> streams_;
  Reader& reader_;
  const std::function<absl::Status()>& alive_;
};

absl::StatusOr<Digest> HashFile(Reader& reader, const ContentSourcePtr& source,
                                const std::function<absl::Status()>& alive) {
  Sha256Hasher hasher;
  for (uint32_t i = 0; i < source->checkpoint().streams.size(); ++i) {
    const auto take = [&](absl::string_view bytes) {
      hasher.Update(bytes);
      return absl::OkStatus();
    };
    WDELTA_RETURN_IF_ERROR(ReadStream(reader, source, i, alive, take));
  }
  return hasher.Current();
}

}  // namespace

absl::Status FillFromV1(std::shared_ptr<const RandomAccessFile> file,
                        std::vector<StreamInfo>& streams, store::v1::ModelRecord& model) {
  WDELTA_ASSIGN_OR_RETURN(const auto reader, V1Reader::Open(std::move(file)));
  if (model.parents_size() == 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, "PARENT_REQUIRED",
                     absl::StrCat("a version 1 .wdelta needs its parent declared: the model whose "
                                  "deltatensors hash is ",
                                  reader->file().parent_hash.ToHex()));
  }
  WDELTA_ASSIGN_OR_RETURN(V1Layout layout, LayoutOfV1(reader->file()));
  model.clear_files();
  model.set_raw_bytes(layout.checkpoint.files[0].size_bytes);
  streams = std::move(layout.checkpoint.streams);
  return absl::OkStatus();
}

absl::StatusOr<ContentSourcePtr> OpenV1Import(std::shared_ptr<const RandomAccessFile> file,
                                              const std::vector<V1Parent>& parents, Reader& reader,
                                              const std::function<absl::Status()>& alive) {
  WDELTA_ASSIGN_OR_RETURN(const auto wdelta, V1Reader::Open(std::move(file)));
  absl::Status refused = absl::FailedPreconditionError("no parent is declared");
  for (const V1Parent& parent : parents) {
    absl::StatusOr<std::vector<uint32_t>> streams =
        FindV1Tensors(wdelta->file(), parent.source->checkpoint());
    if (!streams.ok()) {
      refused = Annotate(streams.status(), absl::StrCat("parent '", parent.name, "'"));
      continue;
    }
    Digest found;
    WDELTA_ASSIGN_OR_RETURN(
        const bool matches,
        ParentCheck(wdelta->file(), parent, *streams, reader, alive).Matches(found));
    if (!matches) {
      const std::string expected = wdelta->file().parent_hash.ToHex();
      refused = MakeError(absl::StatusCode::kFailedPrecondition, "WRONG_PARENT",
                          absl::StrCat("parent_hash: expected ", expected, ", found ",
                                       found.ToHex(), " for parent '", parent.name, "'"),
                          {{"expected", expected}, {"found", found.ToHex()}});
      continue;
    }
    WDELTA_ASSIGN_OR_RETURN(V1Layout layout, LayoutOfV1(wdelta->file()));
    const ContentSourcePtr model = NewV1Source(wdelta, layout, parent.source, *streams, {});
    WDELTA_ASSIGN_OR_RETURN(const Digest sha256, HashFile(reader, model, alive));
    return NewV1Source(wdelta, std::move(layout), parent.source, *std::move(streams), sha256);
  }
  return refused;
}

}  // namespace wdelta
