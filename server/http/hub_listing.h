// The files of a model as the Hub's API describes them. Pure functions; any thread.
//
// Every file is told as one of Git LFS: clients then name it by the SHA-256 of the bytes
// that are served, which the model's record has, so that no file is read to be listed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "store/v1/records.pb.h"

namespace wdelta {

// The object id that git gives the LFS pointer of a file.
std::string PointerOid(const store::v1::FileRecord& file);

// RFC 3339 in UTC with milliseconds, as the Hub writes times.
std::string HubTime(int64_t time_us);

// `GET /api/models/{repo}`. With `has_blobs`, sizes and digests of the files.
nlohmann::json ModelInfoJson(const store::v1::ModelRecord& model, bool has_blobs);

struct TreeEntry {
  std::string path;
  // Of the model's files, those that are the entry or below it.
  int first_file = 0;
  int end_file = 0;
  bool is_folder = false;
};

// Files and folders below `folder` (empty: the root) in order of path, without those
// further down unless `recursive`. Empty when there is no such folder.
std::vector<TreeEntry> TreeOf(const store::v1::ModelRecord& model, absl::string_view folder,
                              bool recursive);

// The file or folder at a path; nullopt: neither.
std::optional<TreeEntry> TreeEntryAt(const store::v1::ModelRecord& model, absl::string_view path);

// With `expand`, when it last changed, which is when the model was made.
nlohmann::json TreeEntryJson(const store::v1::ModelRecord& model, const TreeEntry& entry,
                             bool expand);

// Of the model's files, which are in order of path; null: none.
const store::v1::FileRecord* FindFile(const store::v1::ModelRecord& model, absl::string_view path);

}  // namespace wdelta
