// Pages of listings for callers who may name some models only.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/name_check.h"

namespace wdelta {

// What `list(after)`, which returns an absl::StatusOr<Page>, has behind `after`, without items
// whose `name_of(item)` the check refuses. Nor does the position where it goes on tell of one: it
// is that of the last item that is left, `position_of(item)`. So it goes on behind pages that have
// none, to the end of the listing if need be. Any thread.
template <typename List, typename NameOf, typename PositionOf>
auto OwnPage(const NameCheck& check, std::string after, List list, NameOf name_of,
             PositionOf position_of) -> decltype(list(after)) {
  while (true) {
    auto page = list(after);
    if (!page.ok() || check == nullptr) return page;
    auto& items = page->items;
    items.erase(std::remove_if(items.begin(), items.end(),
                               [&](const auto& item) { return !MayName(check, name_of(item)); }),
                items.end());
    if (page->next.empty()) return page;
    if (!items.empty()) {
      page->next = position_of(items.back());
      return page;
    }
    after = std::move(page->next);
  }
}

}  // namespace wdelta
