// Malformed uploads: what opens them, their entries, their pieces, wrong states, sizes.
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/limits.h"
#include "tests/server/malformed_table.h"

namespace wdelta::testing {
namespace {

class MalformedUploadTest : public MalformedInputTest {
 protected:
  grpc::Status Start(const v1::StartUploadRequest& request) {
    return Call(*server_.uploads, &v1::Uploads::Stub::StartUpload, request);
  }

  // StartUpload of a good request that `change` makes a bad one.
  template <typename Change>
  MalformedCase StartCase(const std::string& label, Change change,
                          const std::string& code_and_reason, std::vector<std::string> words) {
    v1::StartUploadRequest request;
    request.set_name("bad");
    change(request);
    return {label, [this, request] { return Start(request); }, code_and_reason, std::move(words)};
  }
};

TEST_F(MalformedUploadTest, LabelsMetadataAndParents) {
  using Request = v1::StartUploadRequest;
  const std::string labels = "INVALID_ARGUMENT BAD_LABELS";
  const std::string metadata = "INVALID_ARGUMENT BAD_METADATA";
  std::vector<MalformedCase> cases;
  cases.push_back(StartCase("empty label", [](Request& r) { (*r.mutable_labels())[""] = "x"; },
                            labels, {"label", "a key must not be empty"}));
  cases.push_back(StartCase("long key",
                            [](Request& r) { (*r.mutable_labels())[std::string(257, 'k')] = "x"; },
                            labels, {"label", "at most 256 bytes"}));
  cases.push_back(StartCase("long value",
                            [](Request& r) { (*r.mutable_labels())["k"] = std::string(257, 'v'); },
                            labels, {"label 'k'", "at most 256 bytes"}));
  cases.push_back(StartCase("many labels",
                            [](Request& r) {
                              for (int i = 0; i < 65; ++i)
                                (*r.mutable_labels())[absl::StrCat(i)] = "x";
                            },
                            labels, {"labels", "at most 64 labels, found 65"}));
  cases.push_back(StartCase("empty key", [](Request& r) { (*r.mutable_metadata())[""] = "x"; },
                            metadata, {"metadata", "a key must not be empty"}));
  cases.push_back(StartCase(
      "much metadata",
      [](Request& r) { (*r.mutable_metadata())["k"] = std::string(64 * limits::kKiB, 'x'); },
      metadata, {"metadata", "at most 65536 bytes", "found 65537"}));
  cases.push_back(StartCase(
      "one long value",
      [](Request& r) { (*r.mutable_metadata())["k"] = std::string(64 * limits::kKiB + 1, 'x'); },
      metadata, {"metadata 'k'", "at most 65536 bytes"}));
  cases.push_back(StartCase("metadata of a parent",
                            [](Request& r) {
                              r.add_parents()->set_model("good");
                              (*r.mutable_parents(0)->mutable_metadata())[""] = "x";
                            },
                            metadata, {"metadata", "a key must not be empty"}));
  cases.push_back(StartCase("unknown parent",
                            [](Request& r) { r.add_parents()->set_model("missing"); },
                            "NOT_FOUND MODEL_NOT_FOUND", {"parent", "missing"}));
  cases.push_back(StartCase("a parent twice",
                            [](Request& r) {
                              r.add_parents()->set_model("good");
                              r.add_parents()->set_model("good");
                            },
                            "INVALID_ARGUMENT PARENT_TWICE", {"parent 'good' is named twice"}));
  cases.push_back(StartCase("many parents",
                            [](Request& r) {
                              for (int i = 0; i < 65; ++i) r.add_parents()->set_model("good");
                            },
                            "INVALID_ARGUMENT TOO_MANY_PARENTS",
                            {"parents: expected at most 64, found 65"}));
  for (const int relation : {-1, 7, 1000}) {
    cases.push_back(StartCase(
        absl::StrCat("relation ", relation),
        [&](Request& r) {
          r.add_parents()->set_model("good");
          r.mutable_parents(0)->set_relation(static_cast<v1::Parent::Relation>(relation));
        },
        "INVALID_ARGUMENT BAD_RELATION", {"parent 'good'", absl::StrCat("relation ", relation)}));
  }
  for (const int kind : {-1, 3, 1000}) {
    cases.push_back(
        StartCase(absl::StrCat("kind ", kind),
                  [&](Request& r) { r.set_kind(static_cast<v1::UploadKind>(kind)); },
                  "INVALID_ARGUMENT BAD_KIND",
                  {"kind: expected CHECKPOINT or WDELTA", absl::StrCat("found ", kind)}));
  }
  cases.push_back(StartCase("long request id",
                            [](Request& r) { r.set_request_id(std::string(129, 'r')); },
                            "INVALID_ARGUMENT BAD_REQUEST_ID",
                            {"request_id: expected at most 128 characters, found 129"}));
  cases.push_back(StartCase("taken name", [](Request& r) { r.set_name("good"); },
                            "ALREADY_EXISTS NAME_TAKEN", {"model name 'good' is taken"}));
  Run(cases, 19);
}

TEST_F(MalformedUploadTest, Entries) {
  const std::string upload = OpenUpload({{"a.bin", "abcd"}});
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& path, uint64_t size, const std::string& sha256,
                       const std::string& code_and_reason, std::vector<std::string> words) {
    cases.push_back(
        {absl::StrCat("entry ", path.substr(0, 30), " of ", path.size(), ", ", size, ", ", sha256),
         [=, this] {
           v1::AddEntriesRequest request;
           request.set_upload(upload);
           v1::Entry& entry = *request.add_entries();
           entry.set_path(path);
           entry.set_size_bytes(size);
           entry.set_sha256(sha256);
           return Call(*server_.uploads, &v1::Uploads::Stub::AddEntries, request);
         },
         code_and_reason, std::move(words)});
  };
  const std::string bad_path = "INVALID_ARGUMENT BAD_PATH";
  add("", 1, "", bad_path, {"expected a relative path, found none"});
  for (const char* path : {"/etc/passwd", "/"}) {
    add(path, 1, "", bad_path, {"expected a relative path, found an absolute one"});
  }
  for (const char* path : {"..", "../x", "a/../b", "a/.."}) {
    add(path, 1, "", bad_path, {"expected parts that are names, found '..'"});
  }
  for (const char* path : {".", "./a", "a/./b"}) {
    add(path, 1, "", bad_path, {"expected parts that are names, found '.'"});
  }
  for (const char* path : {"a//b", "a/"}) {
    add(path, 1, "", bad_path, {"a name between slashes, found an empty part"});
  }
  for (const char* path : {"a\\b", "C:\\x"}) add(path, 1, "", bad_path, {"found a backslash"});
  for (const std::string& path :
       {std::string("a\nb"), std::string("a\x7f"), std::string("a\0b", 3)}) {
    add(path, 1, "", bad_path, {"printable characters, found a control character"});
  }
  add(std::string(1025, 'p'), 1, "", bad_path, {"expected at most 1024 bytes, found 1025"});
  add("huge", limits::kMaxFileBytes + 1, "", "RESOURCE_EXHAUSTED FILE_TOO_LARGE",
      {"huge: expected at most 17592186044416 bytes, found 17592186044417"});
  add("largest", UINT64_MAX, "", "RESOURCE_EXHAUSTED FILE_TOO_LARGE",
      {"largest: expected at most", "18446744073709551615"});
  add("no space", limits::kMaxFileBytes, "", "RESOURCE_EXHAUSTED DISK_FULL", {"expected"});
  for (const std::string& sha256 :
       {std::string("x"), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A'),
        std::string(64, 'g'), "sha256:" + std::string(64, 'a')}) {
    add("b", 1, sha256, "INVALID_ARGUMENT BAD_DIGEST",
        {"b: sha256: expected 64 lower-case hex digits"});
  }
  add("a.bin", 5, "", "ALREADY_EXISTS ENTRY_EXISTS", {"a.bin: declared before with 4", "found 5"});
  cases.push_back({"many entries",
                   [=, this] {
                     v1::AddEntriesRequest request;
                     request.set_upload(upload);
                     for (int i = 0; i < 10'001; ++i)
                       request.add_entries()->set_path(absl::StrCat(i));
                     return Call(*server_.uploads, &v1::Uploads::Stub::AddEntries, request);
                   },
                   "RESOURCE_EXHAUSTED TOO_MANY_ENTRIES",
                   {"expected at most 10000"}});
  Run(cases, 28);
}

TEST_F(MalformedUploadTest, Pieces) {
  const std::string upload =
      OpenUpload({{"a.bin", "abcd"}, {"big.bin", std::string(3 << 20, 'b')}});
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& label, auto change, const std::string& code_and_reason,
                       std::vector<std::string> words) {
    v1::WriteEntriesRequest piece;
    piece.set_upload(upload);
    piece.set_path("a.bin");
    piece.set_data("ab");
    piece.set_crc32c(Crc32c("ab"));
    change(piece);
    cases.push_back({label, [this, piece] { return server_.Write({piece}); }, code_and_reason,
                     std::move(words)});
  };
  using Piece = v1::WriteEntriesRequest;
  add("no upload", [](Piece& p) { p.clear_upload(); }, "NOT_FOUND UPLOAD_NOT_FOUND",
      {"no upload ''"});
  add("another upload", [](Piece& p) { p.set_upload("nope"); }, "NOT_FOUND UPLOAD_NOT_FOUND",
      {"no upload 'nope'"});
  add("no path", [](Piece& p) { p.clear_path(); }, "INVALID_ARGUMENT NO_PATH",
      {"path: expected in the first piece"});
  add("another path", [](Piece& p) { p.set_path("b.bin"); }, "NOT_FOUND ENTRY_NOT_FOUND",
      {"has no entry 'b.bin'"});
  add("wrong checksum", [](Piece& p) { p.set_crc32c(7); }, "DATA_LOSS BAD_CRC",
      {"a.bin: piece at offset 0: expected crc32c 7"});
  add("changed data", [](Piece& p) { p.set_data("ac"); }, "DATA_LOSS BAD_CRC",
      {"a.bin", "expected crc32c"});
  for (const uint64_t offset : {uint64_t{1}, uint64_t{4}, uint64_t{1} << 40, UINT64_MAX}) {
    add(absl::StrCat("offset ", offset), [&](Piece& p) { p.set_offset(offset); },
        "OUT_OF_RANGE WRONG_OFFSET", {"a.bin: expected offset 0", absl::StrCat("found ", offset)});
  }
  add("past the end",
      [](Piece& p) {
        p.set_data("abcde");
        p.set_crc32c(Crc32c("abcde"));
      },
      "INVALID_ARGUMENT PAST_END", {"a.bin: expected at most 4 more bytes, found 5"});
  add("large piece",
      [](Piece& p) {
        p.set_path("big.bin");
        p.set_data(std::string(limits::kMaxPieceBytes + 1, 'b'));
        p.set_crc32c(Crc32c(p.data()));
      },
      "INVALID_ARGUMENT PIECE_TOO_LARGE",
      {"big.bin", "expected at most 2097152 bytes, found 2097153"});
  add("data and copy", [](Piece& p) { p.mutable_copy()->set_sha256(std::string(64, 'a')); },
      "INVALID_ARGUMENT DATA_AND_COPY", {"a.bin", "expected either data or copy, found both"});
  for (const std::string& sha256 : {std::string(), std::string("x"), std::string(64, 'Z')}) {
    add(absl::StrCat("copy of '", sha256, "'"),
        [&](Piece& p) {
          p.clear_data();
          p.mutable_copy()->set_sha256(sha256);
        },
        "INVALID_ARGUMENT BAD_DIGEST", {"copy.sha256: expected 64 lower-case hex digits"});
  }
  add("copy of what is not there",
      [](Piece& p) {
        p.clear_data();
        p.mutable_copy()->set_sha256(std::string(64, 'a'));
        p.mutable_copy()->set_size_bytes(4);
      },
      "NOT_FOUND CONTENT_NOT_FOUND", {"a.bin: content sha256:aaaa"});
  // gRPC itself refuses it, before it is read.
  add("large message", [](Piece& p) { p.set_data(std::string(5 << 20, 'x')); },
      "RESOURCE_EXHAUSTED", {"larger than max"});
  for (const std::string& sha256 : {std::string("x"), std::string(65, 'a')}) {
    cases.push_back({"find " + sha256,
                     [=, this] {
                       v1::FindContentRequest request;
                       request.set_upload(upload);
                       request.add_contents()->set_sha256(std::string(64, 'a'));
                       request.add_contents()->set_sha256(sha256);
                       return Call(*server_.uploads, &v1::Uploads::Stub::FindContent, request);
                     },
                     "INVALID_ARGUMENT BAD_DIGEST",
                     {"contents[1].sha256: expected 64 lower-case hex digits", sha256}});
  }
  cases.push_back({"find many",
                   [=, this] {
                     v1::FindContentRequest request;
                     request.set_upload(upload);
                     for (int i = 0; i < 10'001; ++i) {
                       request.add_contents()->set_sha256(std::string(64, 'a'));
                     }
                     return Call(*server_.uploads, &v1::Uploads::Stub::FindContent, request);
                   },
                   "INVALID_ARGUMENT TOO_MANY_CONTENTS",
                   {"contents: expected at most 10000, found 10001"}});
  Run(cases, 21);
}

TEST_F(MalformedUploadTest, WrongStates) {
  std::vector<MalformedCase> cases;
  const auto finish = [this](const std::string& upload, const std::string& path = "",
                             const std::string& sha256 = "") {
    v1::FinishUploadRequest request;
    request.set_upload(upload);
    if (!path.empty()) (*request.mutable_sha256_by_path())[path] = sha256;
    return Call(*server_.uploads, &v1::Uploads::Stub::FinishUpload, request);
  };
  const auto cancel = [this](const std::string& upload) {
    v1::CancelUploadRequest request;
    request.set_upload(upload);
    return Call(*server_.uploads, &v1::Uploads::Stub::CancelUpload, request);
  };
  const std::string empty = OpenUpload({});
  const std::string unwritten = OpenUpload({{"a.bin", "abcd"}});
  const std::string written = OpenUpload({{"a.bin", "abcd"}});
  ASSERT_TRUE(server_.Write(TestServer::PiecesOf(written, {{"a.bin", "abcd"}})).ok());
  v1::StartUploadRequest start;
  start.set_name("cancelled");
  const std::string cancelled = server_.Open(start, {});
  ASSERT_TRUE(cancel(cancelled).ok());

  const std::string not_found = "NOT_FOUND UPLOAD_NOT_FOUND";
  for (const std::string& upload : {std::string(), std::string("x"), std::string(5000, 'u'),
                                    std::string("0000000000000000000000000a")}) {
    const std::string word = absl::StrCat("no upload '", upload.substr(0, 20));
    cases.push_back({absl::StrCat("finish of ", upload.size()),
                     [=] { return finish(upload); },
                     not_found,
                     {word}});
    cases.push_back({absl::StrCat("cancel of ", upload.size()),
                     [=] { return cancel(upload); },
                     not_found,
                     {word}});
    cases.push_back({absl::StrCat("get of ", upload.size()),
                     [=, this] {
                       v1::GetUploadRequest request;
                       request.set_upload(upload);
                       return Call(*server_.uploads, &v1::Uploads::Stub::GetUpload, request);
                     },
                     not_found,
                     {word}});
  }
  cases.push_back({"finish without entries",
                   [=] { return finish(empty); },
                   "FAILED_PRECONDITION NO_ENTRIES",
                   {"has no entries"}});
  cases.push_back({"finish without bytes",
                   [=] { return finish(unwritten); },
                   "FAILED_PRECONDITION ENTRY_INCOMPLETE",
                   {"a.bin: expected 4 bytes, found 0"}});
  cases.push_back({"finish with another digest",
                   [=] { return finish(written, "a.bin", std::string(64, 'a')); },
                   "DATA_LOSS DIGEST_MISMATCH",
                   {"a.bin: expected SHA-256 aaaa", "found "}});
  cases.push_back({"finish of a cancelled one",
                   [=] { return finish(cancelled); },
                   "FAILED_PRECONDITION UPLOAD_ENDED",
                   {"has ended as CANCELLED"}});
  cases.push_back({"entries of a cancelled one",
                   [=, this] {
                     v1::AddEntriesRequest request;
                     request.set_upload(cancelled);
                     request.add_entries()->set_path("x");
                     return Call(*server_.uploads, &v1::Uploads::Stub::AddEntries, request);
                   },
                   "FAILED_PRECONDITION UPLOAD_ENDED",
                   {"has ended as CANCELLED"}});
  cases.push_back({"pieces of a cancelled one",
                   [=, this] {
                     return server_.Write(TestServer::PiecesOf(cancelled, {{"a.bin", "abcd"}}));
                   },
                   "FAILED_PRECONDITION UPLOAD_ENDED",
                   {"has ended as CANCELLED"}});
  Run(cases, 18);
}

}  // namespace
}  // namespace wdelta::testing
