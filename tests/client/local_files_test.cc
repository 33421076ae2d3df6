#include "client/cpp/local_files.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> PathsOf(const std::string& folder) {
  const auto files = ListCheckpointFiles(folder);
  EXPECT_TRUE(files.ok()) << files.status();
  std::vector<std::string> paths;
  if (files.ok()) {
    for (const LocalFile& file : *files) paths.push_back(file.path);
  }
  return paths;
}

TEST(LocalFilesTest, SortedByWholePathWithoutDotFiles) {
  TempFolder folder;
  for (const char* name :
       {"b.txt", "a/z", "a.txt", ".gitattributes", ".git/config", "a/.cache/x"}) {
    folder.Write(name, "x");
  }
  EXPECT_THAT(PathsOf(folder.path()), ::testing::ElementsAre("a.txt", "a/z", "b.txt"));
}

TEST(LocalFilesTest, LinksToFilesAreFollowed) {
  TempFolder folder;
  folder.Write("blobs/abc", "12345");
  fs::create_directories(folder / "snapshot");
  fs::create_symlink("../blobs/abc", folder / "snapshot/model.safetensors");
  const auto files = ListCheckpointFiles(folder / "snapshot");
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ((*files)[0].path, "model.safetensors");
  EXPECT_EQ((*files)[0].size_bytes, 5u);
}

TEST(LocalFilesTest, OtherLinksAreRefused) {
  TempFolder folder;
  fs::create_symlink("nowhere", folder / "dangling");
  EXPECT_EQ(ErrorReason(ListCheckpointFiles(folder.path()).status()), "NOT_A_FILE");
  fs::remove(folder / "dangling");
  fs::create_symlink(".", folder / "loop");
  EXPECT_EQ(ErrorReason(ListCheckpointFiles(folder.path()).status()), "NOT_A_FILE");
}

TEST(LocalFilesTest, WhatIsExcludedMayBeAnything) {
  TempFolder folder;
  for (const char* name : {"model.safetensors", "optimizer.pt", "step-1/optimizer.pt", "old/x"}) {
    folder.Write(name, "x");
  }
  fs::create_symlink("nowhere", folder / "dangling");
  fs::create_symlink("old", folder / "link");
  const auto files =
      ListCheckpointFiles(folder.path(), {"*optimizer.pt", "old", "dangling", "lin?"});
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ((*files)[0].path, "model.safetensors");
  const absl::Status nothing = ListCheckpointFiles(folder.path(), {"*"}).status();
  EXPECT_EQ(ErrorReason(nothing), "NO_FILES");
  EXPECT_THAT(std::string(nothing.message()), ::testing::HasSubstr("excluded"));
}

TEST(LocalFilesTest, MissingAndEmptyFolders) {
  TempFolder folder;
  EXPECT_TRUE(absl::IsNotFound(ListCheckpointFiles(folder / "none").status()));
  EXPECT_EQ(ErrorReason(ListCheckpointFiles(folder.path()).status()), "NO_FILES");
  folder.Write("file", "x");
  EXPECT_EQ(ErrorReason(ListCheckpointFiles(folder / "file").status()), "NOT_A_FOLDER");
}

TEST(LocalFilesTest, NamesThatTheStoreRefuses) {
  TempFolder folder;
  folder.Write("a\\b", "x");
  EXPECT_EQ(ErrorReason(ListCheckpointFiles(folder.path()).status()), "BAD_PATH");
}

}  // namespace
}  // namespace wdelta
