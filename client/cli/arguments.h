// What several commands take on their command line.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/relation_words.h"
#include "client/cpp/push.h"

namespace wdelta {

// `k=v` each; INVALID_ARGUMENT without `=`, with an empty key or a key given twice.
absl::StatusOr<std::map<std::string, std::string>> ParseKeyValues(
    const std::vector<std::string>& arguments);

// `MODEL[:RELATION][,KEY=VALUE…]`; `default_relation` where none is given. Within a value
// `\,` is a comma and `\\` a backslash.
absl::StatusOr<v1::Parent> ParseParent(absl::string_view text,
                                       v1::Parent::Relation default_relation);

// `NAME@TAG`, split.
absl::StatusOr<std::pair<std::string, std::string>> ParseTagReference(absl::string_view text);

// Of push and import.
struct UploadArguments {
  std::string name;
  std::vector<std::string> parents;
  std::string relation;
  std::vector<std::string> labels;
  std::vector<std::string> metadata;
  bool new_version = false;
  bool wait = false;
  std::string request_id;

  void AddTo(CLI::App& command);
  absl::StatusOr<PushOptions> ToOptions() const;
};

}  // namespace wdelta
