// The sparse mode: the few lanes that differ from the parent's, by gap and difference.
// Specified in storage/wdelta/FORMAT.md ("Sparse"). No state: any thread may call it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"

namespace wdelta {

// Whether no more than `most` lanes differ; looks no further than it must.
bool ChangedAtMost(size_t most, LaneFormat format, const uint8_t* target, const uint8_t* parent,
                   size_t lanes);

std::string EncodeSparse(LaneFormat format, const uint8_t* target, const uint8_t* parent,
                         size_t lanes);

// Fills `lanes` lanes of `target`. DATA_LOSS for what is no such payload.
absl::Status DecodeSparse(LaneFormat format, absl::string_view payload, const uint8_t* parent,
                          size_t lanes, uint8_t* target);

}  // namespace wdelta
