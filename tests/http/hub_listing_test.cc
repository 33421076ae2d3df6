#include "server/http/hub_listing.h"

#include <algorithm>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

ModelRecord ModelWith(std::set<std::string> paths) {
  ModelRecord model;
  model.set_name("n/m");
  model.set_digest(Digest::Of("model").ToBytes());
  for (const std::string& path : paths) {
    store::v1::FileRecord* file = model.add_files();
    file->set_path(path);
    file->set_size_bytes(path.size());
    file->set_sha256(Digest::Of(path).ToBytes());
  }
  return model;
}

// Paths of a listing, folders with a `/` behind.
std::vector<std::string> Listed(const ModelRecord& model, const std::string& folder,
                                bool recursive) {
  std::vector<std::string> listed;
  for (const TreeEntry& entry : TreeOf(model, folder, recursive)) {
    listed.push_back(entry.path + (entry.is_folder ? "/" : ""));
  }
  return listed;
}

TEST(HubListing, PointerOidIsThatOfGit) {
  // As `git hash-object` says of the pointer that `git lfs` makes for this file.
  store::v1::FileRecord file;
  file.set_sha256(Digest::Of("hello\n").ToBytes());
  file.set_size_bytes(6);
  EXPECT_EQ(PointerOid(file), "fa61e1ef71c9908c0926776a4aa3504b3a27f159");
}

TEST(HubListing, TimesHaveMilliseconds) {
  EXPECT_EQ(HubTime(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(HubTime(1'700'000'000'123'456), "2023-11-14T22:13:20.123Z");
}

TEST(HubListing, FoldersAreListedOnce) {
  const ModelRecord model = ModelWith({"a", "b/c", "b/d/e", "b/d/f", "b-x", "g/h/i"});
  EXPECT_THAT(Listed(model, "", false), ElementsAre("a", "b/", "b-x", "g/"));
  EXPECT_THAT(Listed(model, "", true), ElementsAre("a", "b/", "b-x", "b/c", "b/d/", "b/d/e",
                                                   "b/d/f", "g/", "g/h/", "g/h/i"));
  EXPECT_THAT(Listed(model, "b", false), ElementsAre("b/c", "b/d/"));
  EXPECT_THAT(Listed(model, "b/d", true), ElementsAre("b/d/e", "b/d/f"));
  EXPECT_THAT(Listed(model, "a", false), IsEmpty());
  EXPECT_THAT(Listed(model, "b/", false), IsEmpty());
  EXPECT_THAT(Listed(ModelWith({}), "", true), IsEmpty());
}

TEST(HubListing, EntriesByPath) {
  const ModelRecord model = ModelWith({"a", "b/c"});
  EXPECT_FALSE(TreeEntryAt(model, "a")->is_folder);
  EXPECT_TRUE(TreeEntryAt(model, "b")->is_folder);
  EXPECT_FALSE(TreeEntryAt(model, "b/c")->is_folder);
  EXPECT_FALSE(TreeEntryAt(model, "c").has_value());
  EXPECT_FALSE(TreeEntryAt(model, "").has_value());
  EXPECT_EQ(FindFile(model, "b/c")->path(), "b/c");
  EXPECT_EQ(FindFile(model, "b"), nullptr);
}

TEST(HubListing, FolderOidsChangeWithTheModel) {
  const ModelRecord one = ModelWith({"a/b", "c/d"});
  ModelRecord two = one;
  two.set_digest(Digest::Of("another").ToBytes());
  const auto oid = [](const ModelRecord& model, const char* folder) {
    return TreeEntryJson(model, *TreeEntryAt(model, folder), false)["oid"].get<std::string>();
  };
  EXPECT_EQ(oid(one, "a").size(), 40U);
  EXPECT_NE(oid(one, "a"), oid(one, "c"));
  EXPECT_NE(oid(one, "a"), oid(two, "a"));
}

// Against the definition: every proper prefix of a path that ends before a `/`.
TEST(HubListing, RandomTreesListEveryFileAndFolder) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::set<std::string> paths;
    for (uint32_t n = random() % 12; n > 0; --n) {
      std::string path(1, static_cast<char>('a' + random() % 3));
      for (uint32_t depth = random() % 3; depth > 0; --depth) {
        absl::StrAppend(&path, random() % 4 == 0 ? "-" : "/", std::string(1, 'a' + random() % 3));
      }
      paths.insert(path);
    }
    // A path that is both file and folder cannot be uploaded.
    for (auto path = paths.begin(); path != paths.end();) {
      const auto below = paths.lower_bound(*path + "/");
      const bool is_folder = below != paths.end() && absl::StartsWith(*below, *path + "/");
      path = is_folder ? paths.erase(path) : std::next(path);
    }
    std::set<std::string> expected;
    for (const std::string& path : paths) {
      expected.insert(path);
      for (size_t slash = path.find('/'); slash != std::string::npos;
           slash = path.find('/', slash + 1)) {
        expected.insert(path.substr(0, slash + 1));
      }
    }
    const std::vector<std::string> listed = Listed(ModelWith(paths), "", true);
    EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), expected);
    EXPECT_EQ(listed.size(), expected.size());
  }
}

}  // namespace
}  // namespace wdelta
