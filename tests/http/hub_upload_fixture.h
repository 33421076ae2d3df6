// What clients of the Hub send when they upload, to the repository n/m.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/digest.h"
#include "tests/http/http_fixture.h"

namespace wdelta::testing {

inline constexpr char kJson[] = "application/json";
inline constexpr char kLines[] = "application/x-ndjson";

class HubUploadTest : public HttpTest {
 protected:
  httplib::Result Post(const std::string& target, const nlohmann::json& body) {
    return NewClient()->Post(target, body.dump(), kJson);
  }
  httplib::Result PutObject(const std::string& oid, size_t size, const std::string& data) {
    return NewClient()->Put(absl::StrCat("/n/m.git/info/lfs/objects/", oid, "?size=", size), data,
                            "application/octet-stream");
  }
  // Commits to n/m; `lines` are operations.
  httplib::Result Commit(const std::vector<nlohmann::json>& lines,
                         const nlohmann::json& header = nlohmann::json::object()) {
    nlohmann::json value = {{"summary", "test"}, {"description", ""}};
    value.update(header);
    std::string body = nlohmann::json({{"key", "header"}, {"value", value}}).dump() + "\n";
    for (const nlohmann::json& line : lines) body += line.dump() + "\n";
    return NewClient()->Post("/api/models/n/m/commit/main", body, kLines);
  }
  static nlohmann::json Inline(const std::string& path, const std::string& content) {
    return {{"key", "file"},
            {"value",
             {{"path", path}, {"content", absl::Base64Escape(content)}, {"encoding", "base64"}}}};
  }
  static nlohmann::json Lfs(const std::string& path, const std::string& content) {
    return {{"key", "lfsFile"},
            {"value",
             {{"path", path},
              {"algo", "sha256"},
              {"oid", Digest::Of(content).ToHex()},
              {"size", content.size()}}}};
  }
  static nlohmann::json Remove(const std::string& key, const std::string& path) {
    return {{"key", key}, {"value", {{"path", path}}}};
  }
  Model Newest() { return store().models().Resolve("n/m").value(); }
  std::vector<std::string> Paths() {
    std::vector<std::string> paths;
    const Model newest = Newest();
    for (const auto& file : newest.record.files()) paths.push_back(file.path());
    return paths;
  }
  std::string Content(const std::string& path) {
    const httplib::Result result = Get("/n/m/resolve/main/" + path);
    EXPECT_EQ(StatusAndCode(result), "200");
    return result ? result->body : "";
  }
};

}  // namespace wdelta::testing
