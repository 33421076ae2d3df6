#include "storage/engine/merge/merge_target.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/stream_digests.h"
#include "storage/engine/merge/merged_source.h"
#include "storage/engine/merge/trim_selection.h"
#include "storage/engine/records/merge_recipe.h"
#include "storage/tensor/element_values.h"

namespace wdelta {
namespace {

using store::v1::MergeRecipe;
using Alive = std::function<absl::Status()>;

// Finds what TIES keeps of every merged tensor.
class Trimmer {
 public:
  Trimmer(const MergeInputs& inputs, ThreadPool* pool, const Alive& alive)
      : inputs_(inputs), pool_(pool), alive_(alive) {}

  // By source; empty for a stream that is not merged.
  absl::StatusOr<std::vector<uint32_t>> LeastKeys(uint32_t stream) {
    const TensorInfo& tensor = inputs_.models[0].source->checkpoint().streams[stream].tensor;
    const uint64_t count = tensor.size_bytes / BytesPerNumber(tensor.dtype);
    if (inputs_.plan.streams[stream].empty() || count == 0) return std::vector<uint32_t>();
    const uint64_t keep = TrimSelection::KeptOf(count, inputs_.recipe.density());
    selections_.assign(inputs_.models.size() - 1, TrimSelection(keep));
    for (int pass = 0; pass < 2; ++pass) WDELTA_RETURN_IF_ERROR(RunPass(stream));
    std::vector<uint32_t> least_keys;
    for (const TrimSelection& selection : selections_) least_keys.push_back(selection.least_key());
    return least_keys;
  }

 private:
  using Counts = std::vector<uint32_t>;  // of a chunk: kBuckets a source

  absl::Status RunPass(uint32_t stream) {
    OrderedTasks<Counts> tasks(pool_, [this](Counts& counts) {
      for (size_t i = 0; i < selections_.size(); ++i) selections_[i].Add(Of(counts, i));
      return alive_();
    });
    const uint64_t size_bytes =
        inputs_.models[0].source->checkpoint().streams[stream].tensor.size_bytes;
    for (const ChunkRef& chunk : ChunksOfStream(stream, size_bytes)) {
      WDELTA_RETURN_IF_ERROR(
          tasks.Start([this, chunk](Counts& counts) { return CountChunk(chunk, counts); }));
    }
    WDELTA_RETURN_IF_ERROR(tasks.Finish());
    for (TrimSelection& selection : selections_) selection.EndPass();
    return absl::OkStatus();
  }

  static absl::Span<uint32_t> Of(Counts& counts, size_t source) {
    return absl::MakeSpan(counts).subspan(source * TrimSelection::kBuckets,
                                          TrimSelection::kBuckets);
  }

  // In a pool thread.
  absl::Status CountChunk(const ChunkRef& chunk, Counts& counts) const {
    counts.assign(selections_.size() * TrimSelection::kBuckets, 0);
    const auto take = [&](size_t, absl::Span<const Numbers> models) {
      for (size_t source = 0; source < selections_.size(); ++source) {
        const absl::Span<uint32_t> of_source = Of(counts, source);
        for (size_t i = 0; i < models[0].size(); ++i) {
          const double delta = DeltaOf(models[source + 1][i], models[0][i]);
          selections_[source].Count(MagnitudeKey(delta), of_source);
        }
      }
      return absl::OkStatus();
    };
    return ReadNumbersOfModels(inputs_, chunk.stream, chunk.offset, chunk.size, take);
  }

  const MergeInputs& inputs_;
  ThreadPool* const pool_;
  const Alive& alive_;
  std::vector<TrimSelection> selections_;  // by source
};

// Digests of a merged model, from one pass over the files that differ from the first model's.
class MergedHasher {
 public:
  MergedHasher(const MergeInputs& inputs, ContentSourcePtr merged, Reader& reader,
               const Alive& alive)
      : inputs_(inputs), merged_(std::move(merged)), reader_(reader), alive_(alive) {}

  absl::StatusOr<MergedDigests> Run() {
    const Checkpoint& pattern = inputs_.models[0].source->checkpoint();
    digests_.streams = inputs_.models[0].stream_digests;
    for (const CheckpointFile& file : pattern.files) digests_.files.push_back(file.sha256);
    for (uint32_t file = 0; file < pattern.files.size(); ++file) {
      bool is_merged = false;
      for (uint32_t i = 0; i < pattern.streams.size() && !is_merged; ++i) {
        is_merged = pattern.streams[i].file_index == file && !inputs_.plan.streams[i].empty();
      }
      if (is_merged) WDELTA_RETURN_IF_ERROR(HashFile(file));
    }
    return std::move(digests_);
  }

 private:
  absl::Status HashFile(uint32_t file) {
    const Checkpoint& checkpoint = merged_->checkpoint();
    const std::vector<StreamRange> ranges =
        RangesOfFile(checkpoint, file, 0, checkpoint.files[file].size_bytes);
    const auto cursor = reader_.NewCursor(merged_, ranges);
    Sha256Hasher whole;
    Sha256Hasher part;  // of ranges[next]
    size_t next = 0;
    uint64_t part_bytes = 0;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
      if (!piece.has_value()) break;
      WDELTA_RETURN_IF_ERROR(alive_());
      whole.Update(piece->data);
      // Pieces go on over the ends of streams.
      absl::string_view left = piece->data;
      while (!left.empty()) {
        const uint64_t size = std::min<uint64_t>(left.size(), ranges[next].size - part_bytes);
        part.Update(left.substr(0, size));
        left.remove_prefix(size);
        part_bytes += size;
        if (part_bytes < ranges[next].size) continue;
        digests_.streams[ranges[next].stream] = part.Current();
        part = Sha256Hasher();
        part_bytes = 0;
        ++next;
      }
    }
    digests_.files[file] = whole.Current();
    return absl::OkStatus();
  }

  const MergeInputs& inputs_;
  const ContentSourcePtr merged_;
  Reader& reader_;
  const Alive& alive_;
  MergedDigests digests_;
};

}  // namespace

absl::StatusOr<std::vector<MergeModel>> OpenMergeModels(const MergeRecipe& recipe, Models& models,
                                                        Reader& reader) {
  std::vector<std::pair<std::string, std::string>> named;  // ids and names
  if (HasBase(recipe.method())) named.emplace_back(recipe.base_id(), recipe.base_name());
  for (const MergeRecipe::Source& source : recipe.sources()) {
    named.emplace_back(source.model_id(), source.name());
  }
  std::vector<MergeModel> opened;
  for (const auto& [id, name] : named) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(id));
    if (!model.has_value()) {
      return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                       absl::StrCat("no model '", name, "' (id:", id, ")"), {{"model", id}});
    }
    WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, reader.Open(model->record));
    opened.push_back({name, std::move(source), {}});
  }
  return opened;
}

absl::StatusOr<ContentSourcePtr> OpenMerged(const MergeRecipe& recipe,
                                            std::vector<MergeModel> models, Reader& reader,
                                            ThreadPool* pool, const Alive& alive) {
  const auto inputs = std::make_shared<MergeInputs>();
  inputs->recipe = recipe;
  inputs->models = std::move(models);
  // Of all, so that what is equal is taken as it is, whichever way a model is stored.
  for (MergeModel& model : inputs->models) {
    WDELTA_ASSIGN_OR_RETURN(model.stream_digests, DigestsOfStreams(*model.source, pool, alive));
  }
  WDELTA_ASSIGN_OR_RETURN(inputs->plan, PlanMerge(inputs->models));
  if (recipe.method() == MergeRecipe::TIES) {
    Trimmer trimmer(*inputs, pool, alive);
    for (uint32_t i = 0; i < inputs->plan.streams.size(); ++i) {
      WDELTA_ASSIGN_OR_RETURN(std::vector<uint32_t> least_keys, trimmer.LeastKeys(i));
      inputs->least_keys.push_back(std::move(least_keys));
    }
  }
  WDELTA_ASSIGN_OR_RETURN(MergedDigests digests,
                          MergedHasher(*inputs, NewMergedSource(inputs, {}), reader, alive).Run());
  return NewMergedSource(inputs, std::move(digests));
}

}  // namespace wdelta
