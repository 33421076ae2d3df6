// Strings within messages, by path. Pure functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace wdelta {

// The strings at `path` (`field.field`); of lists those of all items. None where the path
// does not lead to a string. Messages that are not set are not entered.
std::vector<std::string> StringsAt(const google::protobuf::Message& message,
                                   absl::string_view path);

// Takes out of the list `list` the items whose string at `path` is not to be kept; one that has
// none there counts as empty. The number of those taken out.
int KeepItems(google::protobuf::Message& message, absl::string_view list, absl::string_view path,
              absl::FunctionRef<bool(absl::string_view)> keep);

}  // namespace wdelta
