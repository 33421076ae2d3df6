#include "storage/engine/delta_fetch/held_chain.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

constexpr int kAttempts = 8;

// A source keeps what it reads, and all that this is encoded against, from being freed.
class FileOfSource final : public RandomAccessFile {
 public:
  FileOfSource(ContentSourcePtr source, std::shared_ptr<const RandomAccessFile> file)
      : source_(std::move(source)), file_(std::move(file)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    return file_->Read(offset, destination, size);
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return file_->SizeBytes(); }

 private:
  const ContentSourcePtr source_;
  const std::shared_ptr<const RandomAccessFile> file_;
};

// Nullopt: it was stored anew while it was opened.
absl::StatusOr<std::optional<HeldDelta>> TryHold(Models& models, Reader& reader,
                                                 const ModelRecord& model) {
  WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, reader.Open(model));
  // A form that was left does not come back: what is the model's now was so all the time, and
  // is what the source reads.
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> now, models.GetById(model.id()));
  if (!now.has_value() || now->record.delta_digest() != model.delta_digest()) {
    return std::optional<HeldDelta>();
  }
  auto file = std::make_shared<const FileOfSource>(std::move(source), reader.OpenDelta(model));
  return std::optional<HeldDelta>(HeldDelta{model, std::move(file)});
}

absl::StatusOr<HeldDelta> Hold(Models& models, Reader& reader, const std::string& model_id) {
  for (int attempt = 1; attempt <= kAttempts; ++attempt) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(model_id));
    if (!model.has_value() || model->record.delta_pieces_size() == 0) {
      return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                       absl::StrCat("model id:", model_id, " was deleted"));
    }
    WDELTA_ASSIGN_OR_RETURN(std::optional<HeldDelta> held, TryHold(models, reader, model->record));
    if (held.has_value()) return *std::move(held);
  }
  return MakeError(absl::StatusCode::kUnavailable, "MODEL_REPACKED",
                   absl::StrCat("model id:", model_id, " is stored anew again and again"));
}

}  // namespace

absl::StatusOr<std::vector<HeldDelta>> HoldChain(Models& models, Reader& reader,
                                                 const std::string& model_id) {
  // Of a model that is READY, and so not deleted.
  WDELTA_RETURN_IF_ERROR(reader.HoldDelta(model_id).status());
  std::vector<HeldDelta> chain;
  std::string id = model_id;
  while (!id.empty()) {
    if (chain.size() > limits::kMaxStorageDepth) {
      return absl::DataLossError(
          absl::StrCat("storage chain is deeper than ", limits::kMaxStorageDepth));
    }
    // Those before it are held, and their sources hold what they are encoded against.
    WDELTA_ASSIGN_OR_RETURN(HeldDelta held, Hold(models, reader, id));
    id = held.model.storage_parent_id();
    chain.push_back(std::move(held));
  }
  return chain;
}

}  // namespace wdelta
