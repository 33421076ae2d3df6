#include "server/http/hub_listing.h"

#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/http/hub_models.h"

namespace wdelta {
namespace {

using nlohmann::json;
using store::v1::FileRecord;
using store::v1::ModelRecord;

std::string Sha1Hex(absl::string_view data) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest), sizeof(digest)});
}

std::string GitOid(absl::string_view kind, absl::string_view content) {
  return Sha1Hex(absl::StrCat(kind, " ", content.size(), absl::string_view("\0", 1), content));
}

// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
std::string PointerOf(const FileRecord& file) {
  return absl::StrCat("version https://git-lfs.github.com/spec/v1\noid sha256:",
                      absl::BytesToHexString(file.sha256()), "\nsize ", file.size_bytes(), "\n");
}

// An id of 40 hex digits for the content of a folder, from that of the whole model; not
// git's own, which nobody checks.
std::string FolderOid(const ModelRecord& model, const TreeEntry& entry) {
  return GitOid("tree", absl::StrCat(model.digest(), entry.path));
}

// The index of the first file whose path is not less.
int LowerBound(const ModelRecord& model, absl::string_view path) {
  const auto found =
      std::lower_bound(model.files().begin(), model.files().end(), path,
                       [](const FileRecord& file, absl::string_view p) { return file.path() < p; });
  return static_cast<int>(found - model.files().begin());
}

// The end of the files whose paths start with `prefix`, which is empty or ends with `/`.
int PrefixEndOf(const ModelRecord& model, std::string prefix) {
  if (prefix.empty()) return model.files_size();
  ++prefix.back();  // the least path behind them all
  return LowerBound(model, prefix);
}

}  // namespace

std::string PointerOid(const FileRecord& file) { return GitOid("blob", PointerOf(file)); }

std::string HubTime(int64_t time_us) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMicros(time_us),
                          absl::UTCTimeZone());
}

json ModelInfoJson(const ModelRecord& model, bool has_blobs) {
  json siblings = json::array();
  for (const FileRecord& file : model.files()) {
    json sibling = {{"rfilename", file.path()}};
    if (has_blobs) {
      sibling["size"] = file.size_bytes();
      sibling["blobId"] = PointerOid(file);
      sibling["lfs"] = {{"sha256", absl::BytesToHexString(file.sha256())},
                        {"size", file.size_bytes()},
                        {"pointerSize", PointerOf(file).size()}};
    }
    siblings.push_back(std::move(sibling));
  }
  json tags = json::array();
  for (const store::v1::ParentEdge& parent : model.parents()) {
    tags.push_back(absl::StrCat("base_model:", parent.name()));
  }
  const std::string time = HubTime(model.create_time_us());
  json info = {{"_id", model.id()},
               {"id", model.name()},
               {"modelId", model.name()},
               {"sha", CommitOf(model)},
               {"siblings", std::move(siblings)},
               {"tags", std::move(tags)},
               {"private", false},
               {"gated", false},
               {"disabled", false},
               {"downloads", 0},
               {"likes", 0},
               {"usedStorage", model.raw_bytes()},
               {"xetEnabled", false},
               {"createdAt", time},
               {"lastModified", time}};
  const size_t slash = model.name().find('/');
  if (slash != std::string::npos) info["author"] = model.name().substr(0, slash);
  return info;
}

std::vector<TreeEntry> TreeOf(const ModelRecord& model, absl::string_view folder, bool recursive) {
  const std::string prefix = folder.empty() ? "" : absl::StrCat(folder, "/");
  std::vector<TreeEntry> entries;
  const int begin = LowerBound(model, prefix);
  const int end = PrefixEndOf(model, prefix);
  for (int i = begin; i < end; ++i) {
    const std::string& path = model.files(i).path();
    // Folders that begin with this file.
    size_t slash = path.find('/', prefix.size());
    bool is_below = false;
    for (; slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string below = path.substr(0, slash + 1);
      if (i == begin || !absl::StartsWith(model.files(i - 1).path(), below)) {
        entries.push_back({path.substr(0, slash), i, PrefixEndOf(model, below), true});
      }
      is_below = true;
      if (!recursive) break;
    }
    if (recursive || !is_below) entries.push_back({path, i, i + 1, false});
  }
  std::sort(entries.begin(), entries.end(),
            [](const TreeEntry& a, const TreeEntry& b) { return a.path < b.path; });
  return entries;
}

std::optional<TreeEntry> TreeEntryAt(const ModelRecord& model, absl::string_view path) {
  const int at = LowerBound(model, path);
  if (at < model.files_size() && model.files(at).path() == path) {
    return TreeEntry{std::string(path), at, at + 1, false};
  }
  const std::string prefix = absl::StrCat(path, "/");
  const int begin = LowerBound(model, prefix);
  const int end = PrefixEndOf(model, prefix);
  if (begin == end) return std::nullopt;
  return TreeEntry{std::string(path), begin, end, true};
}

json TreeEntryJson(const ModelRecord& model, const TreeEntry& entry, bool expand) {
  json described = {{"path", entry.path}};
  if (entry.is_folder) {
    described["type"] = "directory";
    described["oid"] = FolderOid(model, entry);
    described["size"] = 0;
  } else {
    const FileRecord& file = model.files(entry.first_file);
    described["type"] = "file";
    described["oid"] = PointerOid(file);
    described["size"] = file.size_bytes();
    described["lfs"] = {{"oid", absl::BytesToHexString(file.sha256())},
                        {"size", file.size_bytes()},
                        {"pointerSize", PointerOf(file).size()}};
  }
  if (expand) {
    described["lastCommit"] = {{"id", CommitOf(model)},
                               {"title", absl::StrCat("Upload ", model.name())},
                               {"date", HubTime(model.create_time_us())}};
  }
  return described;
}

const FileRecord* FindFile(const ModelRecord& model, absl::string_view path) {
  const int at = LowerBound(model, path);
  const bool is_there = at < model.files_size() && model.files(at).path() == path;
  return is_there ? &model.files(at) : nullptr;
}

}  // namespace wdelta
