// Walks over a paginated list, one page in memory at a time. One thread at a time.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/status_macros.h"

namespace wdelta {

template <typename Item>
class Pager {
 public:
  struct Page {
    std::vector<Item> items;
    std::string next_page_token;  // empty on the last page
  };
  using Fetch = absl::AnyInvocable<absl::StatusOr<Page>(const std::string& page_token)>;

  explicit Pager(Fetch fetch) : fetch_(std::move(fetch)) {}

  // The next item, or nothing after the last one. An error ends the walk.
  absl::StatusOr<std::optional<Item>> Next() {
    while (position_ == page_.items.size()) {
      if (last_) return std::optional<Item>();
      WDELTA_RETURN_IF_ERROR(Turn());
    }
    return std::optional<Item>(std::move(page_.items[position_++]));
  }

  // All that is left.
  absl::StatusOr<std::vector<Item>> All() {
    std::vector<Item> items;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(std::optional<Item> item, Next());
      if (!item.has_value()) return items;
      items.push_back(*std::move(item));
    }
  }

 private:
  absl::Status Turn() {
    const std::string token = page_.next_page_token;
    absl::StatusOr<Page> page = fetch_(token);
    if (page.ok() && !token.empty() && page->next_page_token == token) {
      page = absl::InternalError("the server answered the same page token twice");
    }
    position_ = 0;
    if (!page.ok()) {
      page_ = Page();
      last_ = true;
      return page.status();
    }
    page_ = *std::move(page);
    last_ = page_.next_page_token.empty();
    return absl::OkStatus();
  }

  Fetch fetch_;
  Page page_;
  size_t position_ = 0;
  bool last_ = false;
};

}  // namespace wdelta
