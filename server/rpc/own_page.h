// Pages of listings for callers who may name some models only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "storage/base/limits.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/name_check.h"

namespace wdelta {

// At most `page_size` of what `list(after, limit)`, which returns an absl::StatusOr<Page>, has
// behind `after`, without items whose `name_of(item)` the check refuses. Nor does the position
// where it goes on tell of one: it is that of the last item that is left, `position_of(item)`. So
// it goes on behind pages that have none, to the end of the listing if need be, in pages as large
// as there are, whatever the caller asks for. Any thread.
template <typename List, typename NameOf, typename PositionOf>
auto OwnPage(const NameCheck& check, std::string after, uint32_t page_size, List list,
             NameOf name_of, PositionOf position_of) -> decltype(list(after, page_size)) {
  if (check == nullptr) return list(after, page_size);
  while (true) {
    auto page = list(after, limits::kMaxPageSize);
    if (!page.ok()) return page;
    auto& items = page->items;
    items.erase(std::remove_if(items.begin(), items.end(),
                               [&](const auto& item) { return !MayName(check, name_of(item)); }),
                items.end());
    const bool is_cut = items.size() > page_size;
    if (is_cut) items.erase(items.begin() + static_cast<ptrdiff_t>(page_size), items.end());
    if (!items.empty() && (is_cut || !page->next.empty())) page->next = position_of(items.back());
    if (!items.empty() || page->next.empty()) return page;
    after = std::move(page->next);
  }
}

}  // namespace wdelta
