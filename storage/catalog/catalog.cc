#include "storage/catalog/catalog.h"

#include <utility>

namespace wdelta {

Commit& Commit::Require(std::string key, uint64_t version) {
  conditions.push_back({std::move(key), version});
  return *this;
}

Commit& Commit::Write(std::string key, std::string value) {
  puts.push_back({std::move(key), std::move(value)});
  return *this;
}

Commit& Commit::Erase(std::string key) {
  deletes.push_back(std::move(key));
  return *this;
}

std::string PrefixEnd(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace wdelta
