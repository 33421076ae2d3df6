#include "storage/engine/disk/data_dir.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class DataDirTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories(path_);
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
  }
  std::string Read(const std::string& name) {
    std::ostringstream text;
    text << std::ifstream(path_ + "/" + name, std::ios::binary).rdbuf();
    return text.str();
  }
  void ExpectRefused(const std::string& reason, const std::string& message_part) {
    const auto opened = DataDir::Open(path_);
    ASSERT_FALSE(opened.ok());
    EXPECT_TRUE(absl::IsFailedPrecondition(opened.status())) << opened.status();
    EXPECT_EQ(ErrorReason(opened.status()), reason);
    EXPECT_THAT(std::string(opened.status().message()),
                AllOf(HasSubstr(path_), HasSubstr(message_part)));
  }

  const TempFolder root_;
  std::string path_ = root_ / "data";
};

TEST_F(DataDirTest, CreatesAFolder) {
  path_ = root_ / "deep/down/data";
  const auto dir = DataDir::Open(path_);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(dir->path(), path_);
  EXPECT_EQ(Read("FORMAT"), "wdelta-data 2\n");
  EXPECT_EQ(Read("LOCK"), absl::StrCat(getpid(), "\n"));
  EXPECT_FALSE(fs::exists(path_ + "/FORMAT.tmp"));
  for (const std::string& room : {dir->blobs_path(), dir->catalog_path(), dir->staging_path()}) {
    EXPECT_TRUE(fs::is_directory(room)) << room;
  }
  EXPECT_EQ(dir->staging_path(), path_ + "/staging");
}

TEST_F(DataDirTest, OpensAgainAndKeepsWhatLiesThere) {
  { ASSERT_TRUE(DataDir::Open(path_).ok()); }
  Write("blobs/x", "kept");
  const auto dir = DataDir::Open(path_);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(Read("blobs/x"), "kept");
}

TEST_F(DataDirTest, HasOneHolderAtATime) {
  auto first = DataDir::Open(path_);
  ASSERT_TRUE(first.ok()) << first.status();
  ExpectRefused("DATA_DIR_IN_USE", absl::StrCat("pid ", getpid()));

  std::optional<DataDir> moved = *std::move(first);
  ExpectRefused("DATA_DIR_IN_USE", "in use");
  moved.reset();
  EXPECT_TRUE(DataDir::Open(path_).ok());
}

TEST_F(DataDirTest, AHolderThatDiedLeavesNoLock) {
  const pid_t child = fork();
  if (child == 0) {
    const auto dir = DataDir::Open(path_);
    _exit(dir.ok() ? 0 : 1);  // without destructors
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(Read("LOCK"), absl::StrCat(child, "\n"));
  EXPECT_TRUE(DataDir::Open(path_).ok());
  EXPECT_EQ(Read("LOCK"), absl::StrCat(getpid(), "\n"));
}

TEST_F(DataDirTest, MarksAFolderOfAnOlderFormat) {
  Write("FORMAT", "wdelta-data 1\n");
  fs::create_directories(path_ + "/blobs");
  Write("blobs/x", "kept");
  ASSERT_TRUE(DataDir::Open(path_).ok());
  EXPECT_EQ(Read("FORMAT"), "wdelta-data 2\n");
  EXPECT_EQ(Read("blobs/x"), "kept");
}

TEST_F(DataDirTest, RefusesANewerFormat) {
  Write("FORMAT", "wdelta-data 3\n");
  ExpectRefused("DATA_FORMAT_NEWER",
                "was written by a newer wdelta: format 3, this one reads up to 2");
  EXPECT_EQ(Read("FORMAT"), "wdelta-data 3\n");
  EXPECT_FALSE(fs::exists(path_ + "/blobs"));
}

TEST_F(DataDirTest, RefusesAGarbledFormat) {
  for (const std::string& text :
       {std::string(), std::string("wdelta-data 1"), std::string("wdelta-data \n"),
        std::string("wdelta-data 0\n"), std::string("wdelta-data -1\n"),
        std::string("wdelta-data  1\n"), std::string("wdelta-data 1x\n"),
        std::string("wdelta-data 99999999999\n"), std::string("wdelta-data 1\n\n"),
        std::string("other 1\n"), std::string(10'000, '1'), std::string("\0\0\0", 3)}) {
    Write("FORMAT", text);
    ExpectRefused("NOT_A_DATA_DIR", "FORMAT: expected `wdelta-data 2`");
    EXPECT_EQ(Read("FORMAT"), text);
  }
}

TEST_F(DataDirTest, LeavesAForeignFolderUntouched) {
  Write("thesis.txt", "precious");
  ExpectRefused("NOT_A_DATA_DIR", "thesis.txt");
  EXPECT_EQ(Read("thesis.txt"), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(path_), fs::directory_iterator()), 1);
}

TEST_F(DataDirTest, FinishesACreationThatWasCutOff) {
  Write("LOCK", "123\n");
  Write("FORMAT.tmp", "wdel");
  fs::create_directories(path_ + "/lost+found");
  const auto dir = DataDir::Open(path_);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(Read("FORMAT"), "wdelta-data 2\n");
}

}  // namespace
}  // namespace wdelta
