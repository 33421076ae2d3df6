// All key layouts of the catalog. Ids, names and digests hold no `/` except the
// one of `namespace/name`, so a key part ends where the next `/` or `@` begins.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace wdelta::keys {

// model/<id> -> ModelRecord
inline constexpr absl::string_view kModels = "model/";
inline std::string Model(absl::string_view id) { return absl::StrCat(kModels, id); }

// name/<name> -> NameRecord: the newest version
inline constexpr absl::string_view kNames = "name/";
inline std::string Name(absl::string_view name) { return absl::StrCat(kNames, name); }

// version/<name>@<model id> -> empty: every live model of a name
inline std::string VersionPrefix(absl::string_view name) {
  return absl::StrCat("version/", name, "@");
}
inline std::string Version(absl::string_view name, absl::string_view id) {
  return absl::StrCat(VersionPrefix(name), id);
}

// tag/<name>@<tag> -> TagRecord
inline constexpr absl::string_view kTags = "tag/";
inline std::string TagPrefix(absl::string_view name) { return absl::StrCat(kTags, name, "@"); }
inline std::string Tag(absl::string_view name, absl::string_view tag) {
  return absl::StrCat(TagPrefix(name), tag);
}

// tagged/<model id>/<name>@<tag> -> empty: the tags of a model
inline std::string TaggedPrefix(absl::string_view id) { return absl::StrCat("tagged/", id, "/"); }
inline std::string Tagged(absl::string_view id, absl::string_view name, absl::string_view tag) {
  return absl::StrCat(TaggedPrefix(id), name, "@", tag);
}

// tag_history/<name>@<tag>/<number, 12 digits> -> TagChangeRecord: from 1, without gaps
inline std::string TagHistoryPrefix(absl::string_view name, absl::string_view tag) {
  return absl::StrCat("tag_history/", name, "@", tag, "/");
}
inline std::string TagHistory(absl::string_view name, absl::string_view tag, uint64_t number) {
  return absl::StrCat(TagHistoryPrefix(name, tag), absl::Dec(number, absl::kZeroPad12));
}

// digest/<hex>/<model id> -> empty: live models by content
inline std::string DigestPrefix(absl::string_view hex) { return absl::StrCat("digest/", hex); }
inline std::string DigestOf(absl::string_view hex, absl::string_view id) {
  return absl::StrCat("digest/", hex, "/", id);
}

// child/<parent id>/<child id> -> empty: declared lineage, downwards
inline std::string ChildPrefix(absl::string_view id) { return absl::StrCat("child/", id, "/"); }
inline std::string Child(absl::string_view parent, absl::string_view child) {
  return absl::StrCat(ChildPrefix(parent), child);
}

// encoded_on/<storage parent id>/<model id> -> empty: who needs whose bytes
inline std::string EncodedOnPrefix(absl::string_view id) {
  return absl::StrCat("encoded_on/", id, "/");
}
inline std::string EncodedOn(absl::string_view parent, absl::string_view id) {
  return absl::StrCat(EncodedOnPrefix(parent), id);
}

// needed_by/<source id>/<model id> -> empty: models that are still to be computed from
// whose bytes
inline std::string NeededByPrefix(absl::string_view id) {
  return absl::StrCat("needed_by/", id, "/");
}
inline std::string NeededBy(absl::string_view source, absl::string_view id) {
  return absl::StrCat(NeededByPrefix(source), id);
}

// storage_choice/<model id> -> StorageChoiceRecord
inline std::string StorageChoice(absl::string_view id) {
  return absl::StrCat("storage_choice/", id);
}

// indexed/<model id> -> IndexedContentRecord: what the next two hold of a model
inline std::string Indexed(absl::string_view id) { return absl::StrCat("indexed/", id); }

// layout/<hex>/<storage depth, 2 digits>/<model id> -> empty: live models whose tensors
// have the same names, dtypes and rows, those with the shortest chains first
inline std::string LayoutPrefix(absl::string_view hex) { return absl::StrCat("layout/", hex, "/"); }
inline std::string Layout(absl::string_view hex, uint32_t depth, absl::string_view id) {
  return absl::StrCat(LayoutPrefix(hex), absl::Dec(depth, absl::kZeroPad2), "/", id);
}

// tensor/<hex>/<model id> -> TensorPlaceRecord: live models with a tensor of this content
inline std::string TensorPrefix(absl::string_view hex) { return absl::StrCat("tensor/", hex, "/"); }
inline std::string Tensor(absl::string_view hex, absl::string_view id) {
  return absl::StrCat(TensorPrefix(hex), id);
}

// blob/<hex> -> BlobRecord
inline constexpr absl::string_view kBlobs = "blob/";
inline std::string Blob(absl::string_view hex) { return absl::StrCat(kBlobs, hex); }

// blob_of/<owner>/<hex> -> empty: blobs that an owner, `<model id>` or
// `<model id>+<job id>`, claimed
inline constexpr absl::string_view kBlobsOf = "blob_of/";
inline std::string BlobsOfModelPrefix(absl::string_view id) { return absl::StrCat(kBlobsOf, id); }
inline std::string BlobOfPrefix(absl::string_view owner) {
  return absl::StrCat(kBlobsOf, owner, "/");
}
inline std::string BlobOf(absl::string_view owner, absl::string_view hex) {
  return absl::StrCat(BlobOfPrefix(owner), hex);
}

// upload/<id> -> UploadRecord
inline constexpr absl::string_view kUploads = "upload/";
inline std::string Upload(absl::string_view id) { return absl::StrCat(kUploads, id); }

// open_upload/<id> -> empty
inline constexpr absl::string_view kOpenUploads = "open_upload/";
inline std::string OpenUpload(absl::string_view id) { return absl::StrCat(kOpenUploads, id); }

// staged/<upload id>/<entry index, 8 digits> -> StagedSizeRecord
inline constexpr absl::string_view kStaged = "staged/";
inline std::string StagedPrefix(absl::string_view id) { return absl::StrCat(kStaged, id, "/"); }
inline std::string Staged(absl::string_view id, uint32_t entry_index) {
  return absl::StrCat(StagedPrefix(id), absl::Dec(entry_index, absl::kZeroPad8));
}

// request/<request id> -> RequestRecord
inline std::string Request(absl::string_view id) { return absl::StrCat("request/", id); }

// job/<id> -> JobRecord
inline constexpr absl::string_view kJobs = "job/";
inline std::string Job(absl::string_view id) { return absl::StrCat(kJobs, id); }

// queue/<job id> -> empty: jobs that have not ended
inline constexpr absl::string_view kQueue = "queue/";
inline std::string Queue(absl::string_view job_id) { return absl::StrCat(kQueue, job_id); }

}  // namespace wdelta::keys
