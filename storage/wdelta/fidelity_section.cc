#include "storage/wdelta/fidelity_section.h"

#include <cmath>
#include <utility>

#include "absl/base/casts.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/format.h"
#include "storage/wdelta/metadata.h"

namespace wdelta {
namespace {

void AppendF64(std::string& out, double value) { AppendU64(out, absl::bit_cast<uint64_t>(value)); }

// A sum or a maximum of magnitudes.
absl::StatusOr<double> ReadMagnitude(ByteReader& reader, absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t bits, reader.ReadU64(field));
  const double value = absl::bit_cast<double>(bits);
  if (std::isfinite(value) && !std::signbit(value)) return value;
  return BadWdelta(absl::StrCat(field, ": expected a finite number of at least 0, found ", value));
}

absl::StatusOr<WdeltaStreamFidelity> ParseRecord(ByteReader& reader, uint64_t first_stream,
                                                 uint64_t stream_count) {
  WdeltaStreamFidelity record;
  WDELTA_ASSIGN_OR_RETURN(const uint64_t stream, reader.ReadVarint("fidelity stream"));
  if (stream < first_stream || stream >= stream_count) {
    return BadWdelta(absl::StrCat("fidelity stream: expected ", first_stream, " or more and below ",
                                  stream_count, ", found ", stream));
  }
  record.stream = static_cast<uint32_t>(stream);
  WDELTA_ASSIGN_OR_RETURN(const uint8_t strategy, reader.ReadU8("strategy"));
  if (strategy > static_cast<uint8_t>(Strategy::kOneBit)) {
    return UnsupportedWdelta(absl::StrCat("strategy: expected 0 to 3, found ", strategy));
  }
  record.strategy = static_cast<Strategy>(strategy);
  WDELTA_ASSIGN_OR_RETURN(record.squared_error, ReadMagnitude(reader, "squared_error"));
  WDELTA_ASSIGN_OR_RETURN(record.squared_delta, ReadMagnitude(reader, "squared_delta"));
  WDELTA_ASSIGN_OR_RETURN(record.max_absolute_error, ReadMagnitude(reader, "max_absolute_error"));
  return record;
}

}  // namespace

double WdeltaStreamFidelity::RelativeError() const {
  return squared_delta > 0 ? std::sqrt(squared_error / squared_delta) : 0;
}

absl::string_view StrategyName(Strategy strategy) {
  switch (strategy) {
    case Strategy::kLossless:
      return "lossless";
    case Strategy::kNearLossless:
      return "near-lossless";
    case Strategy::kSparse:
      return "sparse";
    case Strategy::kOneBit:
      return "onebit";
    case Strategy::kAuto:
      return "auto";
  }
  return "unknown";
}

std::string SerializeFidelity(const WdeltaFidelity& fidelity) {
  std::string out = fidelity.uploaded_digest.ToBytes();
  AppendVarint(out, fidelity.streams.size());
  for (const WdeltaStreamFidelity& record : fidelity.streams) {
    AppendVarint(out, record.stream);
    AppendU8(out, static_cast<uint8_t>(record.strategy));
    AppendF64(out, record.squared_error);
    AppendF64(out, record.squared_delta);
    AppendF64(out, record.max_absolute_error);
  }
  return out;
}

absl::Status ParseFidelity(ByteReader& reader, WdeltaFile& file) {
  if (file.fidelity.has_value()) return BadWdelta("fidelity: expected one section, found two");
  WdeltaFidelity fidelity;
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view digest,
                          reader.ReadBytes(kDigestBytes, "uploaded_digest"));
  WDELTA_ASSIGN_OR_RETURN(fidelity.uploaded_digest, Digest::FromBytes(digest));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t count, reader.ReadVarint("fidelity count"));
  const uint64_t room = reader.remaining() / format::kMinFidelityRecordBytes;
  if (count > room || count > file.streams.size()) {
    return BadWdelta(absl::StrCat("fidelity count: expected at most ",
                                  std::min<uint64_t>(room, file.streams.size()), ", found ",
                                  count));
  }
  fidelity.streams.reserve(count);
  uint64_t first_stream = 0;
  for (uint64_t i = 0; i < count; ++i) {
    WDELTA_ASSIGN_OR_RETURN(WdeltaStreamFidelity record,
                            ParseRecord(reader, first_stream, file.streams.size()));
    first_stream = uint64_t{record.stream} + 1;
    fidelity.streams.push_back(record);
  }
  file.fidelity = std::move(fidelity);
  return absl::OkStatus();
}

}  // namespace wdelta
