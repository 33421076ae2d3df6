#include "storage/engine/scrub/repair_source.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/content_index.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

constexpr size_t kMaxNamedStreams = 8;

struct Place {
  ContentSourcePtr source;
  uint32_t stream = 0;
};

class ComposedSource final : public ContentSource {
 public:
  ComposedSource(Checkpoint checkpoint, std::vector<Digest> digests, std::vector<Place> places)
      : checkpoint_(std::move(checkpoint)),
        digests_(std::move(digests)),
        places_(std::move(places)) {}

  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    const Place& place = places_[stream];
    return place.source->Read(place.stream, offset, size, destination);
  }
  std::optional<Digest> StreamDigest(uint32_t stream) const override { return digests_[stream]; }

 private:
  const Checkpoint checkpoint_;
  const std::vector<Digest> digests_;
  const std::vector<Place> places_;
};

class Composer {
 public:
  Composer(const JobDependencies& deps, const ModelRecord& model,
           const std::function<absl::Status(uint64_t)>& advance)
      : deps_(deps), model_(model), advance_(advance) {}

  absl::StatusOr<ContentSourcePtr> Run() {
    WDELTA_RETURN_IF_ERROR(OpenRelatives());
    const ContentSourcePtr outline = Outline();
    if (outline == nullptr) {
      return NotRepairable("its list of tensors is lost, and no model has the same content");
    }
    const Checkpoint& checkpoint = outline->checkpoint();
    std::vector<Digest> digests;
    std::vector<Place> places;
    std::vector<std::string> missing;
    for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
      WDELTA_ASSIGN_OR_RETURN(const Digest digest, DigestOf(*outline, i));
      WDELTA_ASSIGN_OR_RETURN(std::optional<Place> place, FindStream({outline, i}, digest));
      if (!place.has_value()) missing.push_back(NameOf(checkpoint, i));
      if (!place.has_value()) continue;
      digests.push_back(digest);
      places.push_back(*std::move(place));
    }
    if (missing.empty()) {
      return std::make_shared<const ComposedSource>(checkpoint, std::move(digests),
                                                    std::move(places));
    }
    const size_t count = missing.size();
    missing.resize(std::min(count, kMaxNamedStreams));
    return NotRepairable(absl::StrCat("no model has ", absl::StrJoin(missing, ", "),
                                      count > missing.size() ? ", …" : "",
                                      "; push the checkpoint again, then scrub with repair"));
  }

 private:
  absl::Status NotRepairable(absl::string_view why) const {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NOT_REPAIRABLE",
                     absl::StrCat("model '", model_.name(), "': ", why));
  }

  static std::string NameOf(const Checkpoint& checkpoint, uint32_t stream) {
    const StreamInfo& info = checkpoint.streams[stream];
    return info.kind == StreamKind::kTensor ? absl::StrCat("tensor '", info.tensor.name, "'")
                                            : checkpoint.files[info.file_index].path;
  }

  // The model itself comes first, models of the same content next.
  absl::Status OpenRelatives() {
    std::vector<std::string> ids = {model_.id()};
    const auto add_suffixes = [&](const std::string& prefix) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(
          const ScanPage page,
          deps_.catalog->Scan({prefix, PrefixEnd(prefix), limits::kMaxCandidatesOfAKind, false}));
      for (const Record& record : page.records) ids.push_back(record.key.substr(prefix.size()));
      return absl::OkStatus();
    };
    if (!model_.digest().empty()) {
      WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(model_.digest()));
      WDELTA_RETURN_IF_ERROR(add_suffixes(keys::DigestOf(digest.ToHex(), "")));
    }
    if (!model_.storage_parent_id().empty()) ids.push_back(model_.storage_parent_id());
    WDELTA_RETURN_IF_ERROR(add_suffixes(keys::EncodedOnPrefix(model_.id())));
    for (const store::v1::ParentEdge& parent : model_.parents()) ids.push_back(parent.model_id());
    WDELTA_RETURN_IF_ERROR(add_suffixes(keys::ChildPrefix(model_.id())));
    absl::flat_hash_set<std::string> seen;
    for (const std::string& id : ids) {
      if (!seen.insert(id).second) continue;
      WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, OpenModel(id));
      if (source != nullptr) AddRelative(std::move(source));
    }
    return absl::OkStatus();
  }

  // Null for one that cannot be opened.
  absl::StatusOr<ContentSourcePtr> OpenModel(const std::string& id) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(id));
    if (!model.has_value()) return nullptr;
    absl::StatusOr<ContentSourcePtr> source = deps_.reader->Open(model->record);
    return source.ok() ? *std::move(source) : nullptr;
  }

  void AddRelative(ContentSourcePtr source) {
    for (uint32_t i = 0; i < source->checkpoint().streams.size(); ++i) {
      const std::optional<Digest> digest = source->StreamDigest(i);
      if (digest.has_value()) places_[*digest].push_back({source, i});
    }
    relatives_.push_back(std::move(source));
  }

  // Someone with the model's files; null: nobody.
  ContentSourcePtr Outline() const {
    for (const ContentSourcePtr& source : relatives_) {
      if (ModelDigest(source->checkpoint().files).ToBytes() == model_.digest()) return source;
    }
    return nullptr;
  }

  absl::StatusOr<Digest> DigestOf(const ContentSource& source, uint32_t stream) {
    if (const std::optional<Digest> known = source.StreamDigest(stream)) return *known;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Digest> read, HashStream(source, stream));
    if (read.has_value()) return *read;
    return NotRepairable("the upload of the same content cannot be read");
  }

  // Nullopt: it cannot be read.
  absl::StatusOr<std::optional<Digest>> HashStream(const ContentSource& source, uint32_t stream) {
    const uint64_t size_bytes = source.checkpoint().streams[stream].tensor.size_bytes;
    std::string buffer;
    Sha256Hasher hasher;
    for (uint64_t offset = 0; offset < size_bytes; offset += buffer.size()) {
      buffer.resize(std::min(limits::kChunkBytes, size_bytes - offset));
      if (!source.Read(stream, offset, buffer.size(), buffer.data()).ok()) {
        return std::optional<Digest>();
      }
      hasher.Update(buffer);
      WDELTA_RETURN_IF_ERROR(advance_(0));
    }
    return std::optional<Digest>(hasher.Current());
  }

  absl::StatusOr<std::optional<Place>> FindStream(const Place& outline, const Digest& digest) {
    std::vector<Place> candidates = {outline};
    if (const auto known = places_.find(digest); known != places_.end()) {
      for (const Place& place : known->second) {
        if (place.source != outline.source || place.stream != outline.stream) {
          candidates.push_back(place);
        }
      }
    }
    for (const Place& place : candidates) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Digest> found,
                              HashStream(*place.source, place.stream));
      if (found == digest) return std::optional<Place>(place);
    }
    WDELTA_ASSIGN_OR_RETURN(const std::vector<TensorPlace> indexed,
                            PlacesOfTensor(*deps_.catalog, digest, limits::kMaxCandidatesOfAKind));
    for (const TensorPlace& named : indexed) {
      WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, OpenModel(named.model_id));
      if (source == nullptr || named.stream >= source->checkpoint().streams.size()) continue;
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Digest> found, HashStream(*source, named.stream));
      if (found == digest) return std::optional<Place>(Place{std::move(source), named.stream});
    }
    return std::optional<Place>();
  }

  const JobDependencies& deps_;
  const ModelRecord& model_;
  const std::function<absl::Status(uint64_t)>& advance_;
  std::vector<ContentSourcePtr> relatives_;
  absl::flat_hash_map<Digest, std::vector<Place>> places_;
};

}  // namespace

absl::StatusOr<ContentSourcePtr> ComposeRepairSource(
    const JobDependencies& deps, const ModelRecord& model,
    const std::function<absl::Status(uint64_t)>& advance) {
  return Composer(deps, model, advance).Run();
}

}  // namespace wdelta
