// Constants of `.wdelta` version 2, as FORMAT.md gives them. Private to the room.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "storage/wdelta/magic.h"

namespace wdelta::format {

inline constexpr size_t kPreambleBytes = 16;
inline constexpr size_t kPreambleReservedBytes = 5;
inline constexpr uint32_t kDeltatensorsVersion = 1;

inline constexpr absl::string_view kEndMagic("\0atledw\n", 8);
inline constexpr size_t kFooterBytes = 80;
inline constexpr size_t kFooterReservedBytes = 8;

inline constexpr uint8_t kHeaderTag = 1;
inline constexpr uint8_t kFilesTag = 2;
inline constexpr uint8_t kStreamsTag = 3;
inline constexpr uint8_t kChunksTag = 4;
inline constexpr uint8_t kFirstOptionalTag = 128;
inline constexpr uint8_t kFidelityTag = 128;

inline constexpr uint8_t kHasParentFlag = 1;        // header
inline constexpr uint8_t kIsSafetensorsFlag = 1;    // file
inline constexpr uint8_t kHasParentStreamFlag = 1;  // stream
inline constexpr uint8_t kHasParentDTypeFlag = 2;   // stream
inline constexpr uint8_t kHasCorrectionFlag = 4;    // stream

inline constexpr uint64_t kChunkBytesMultiple = 8;
// The least that a file, a stream, a chunk takes in the metadata: bounds counts.
inline constexpr uint64_t kMinFileRecordBytes = 1 + 1 + 1 + 32 + 1;
inline constexpr uint64_t kMinStreamRecordBytes = 1 + 1 + 1 + 1 + 1 + 1 + 32;
inline constexpr uint64_t kChunkRecordMinBytes = 1 + 1 + 4 + 8;
inline constexpr uint64_t kMinFidelityRecordBytes = 1 + 1 + 3 * 8;

}  // namespace wdelta::format
