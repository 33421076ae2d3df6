#include "storage/codec/lossy_quantised.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/quantise_kernels.h"
#include "storage/codec/lossy_moments.h"

namespace wdelta {
namespace {

using kernels::kEscapedSymbol;
using kernels::kPoints;
using kernels::kQuantisedClasses;
using kernels::kSegmentClasses;
using kernels::kTrellisLanes;

// Steps out of this range leave too few bits of a float for the arithmetic.
constexpr double kLeastStep = 1e-30;
constexpr double kMostStep = 1e30;

const uint8_t* Bytes(absl::string_view view) {
  return reinterpret_cast<const uint8_t*>(view.data());
}

size_t Padded(size_t weights) {
  return (weights + kTrellisLanes - 1) / kTrellisLanes * kTrellisLanes;
}

struct Header {
  DType dtype = DType::kBF16;
  kernels::Reconstruction reconstruction;
  Segments segments;
};

void AppendHeader(const Header& header, std::string& out) {
  AppendU8(out, static_cast<uint8_t>(header.dtype));
  uint64_t step;
  std::memcpy(&step, &header.reconstruction.step, sizeof(step));
  AppendU64(out, step);
  for (int j = 1; j <= kPoints; ++j) {
    const auto reduction = static_cast<uint16_t>(header.reconstruction.reduction[j]);
    AppendU8(out, static_cast<uint8_t>(reduction & 0xff));
    AppendU8(out, static_cast<uint8_t>(reduction >> 8));
  }
  AppendSegments(header.segments, out);
}

absl::StatusOr<Header> ReadHeader(ByteReader& reader, int lane_bytes, size_t size) {
  Header header;
  WDELTA_ASSIGN_OR_RETURN(header.dtype, ReadLossyDType(reader, lane_bytes, size));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t step, reader.ReadU64("step"));
  std::memcpy(&header.reconstruction.step, &step, sizeof(step));
  if (!(header.reconstruction.step >= kLeastStep && header.reconstruction.step <= kMostStep)) {
    return absl::DataLossError("step: expected 1e-30 to 1e30");
  }
  for (int j = 1; j <= kPoints; ++j) {
    WDELTA_ASSIGN_OR_RETURN(const uint8_t low, reader.ReadU8("reduction"));
    WDELTA_ASSIGN_OR_RETURN(const uint8_t high, reader.ReadU8("reduction"));
    header.reconstruction.reduction[j] = static_cast<int16_t>(low | (high << 8));
  }
  WDELTA_ASSIGN_OR_RETURN(header.segments,
                          ReadSegments(reader, size / static_cast<size_t>(lane_bytes)));
  return header;
}

// Where the symbols of each class begin, and the classes that there are.
kernels::ClassCursor StartsOf(const kernels::ClassCounts& counts, std::vector<uint8_t>& present) {
  kernels::ClassCursor starts;
  size_t at = 0;
  for (int c = 0; c < kQuantisedClasses; ++c) {
    starts[c] = at;
    at += counts[c];
    if (counts[c] != 0) present.push_back(static_cast<uint8_t>(c));
  }
  return starts;
}

}  // namespace

void QuantisedCoder::ClassifySegments(const std::vector<double>& mean_squares, double mean_square) {
  segment_classes_.resize(mean_squares.size());
  for (size_t i = 0; i < mean_squares.size(); ++i) {
    // Half octaves of the scale are octaves of its square.
    const double octaves =
        mean_squares[i] > 0 ? std::log2(mean_squares[i] / mean_square) : -kSegmentClasses;
    const double from_top = std::round(octaves) + kSegmentClasses - 3;
    segment_classes_[i] =
        static_cast<uint8_t>(std::clamp(from_top, 0.0, static_cast<double>(kSegmentClasses - 1)));
  }
}

void QuantisedCoder::FillClasses(DType dtype, const Segments& segments, const uint8_t* parent,
                                 size_t weights, double step) {
  classes_.resize(Padded(weights));
  counts_ = {};
  const int step_exponent = std::ilogb(step);
  ForEachSegment(segments, weights, [&](size_t index, size_t first, size_t count) {
    kernels::ExponentClasses(dtype, step_exponent, segment_classes_[index], parent, first,
                             first + count, classes_.data());
    kernels::CountClasses(classes_.data(), segment_classes_[index], first, first + count, counts_);
  });
}

bool QuantisedCoder::Encode(DType dtype, const ChunkGeometry& geometry, absl::string_view target,
                            absl::string_view parent, const LossyParams& params,
                            std::string& payload, std::string& reconstructed) {
  const size_t weights = target.size() / static_cast<size_t>(LaneBytes(dtype));
  const Segments segments = SegmentsOf(geometry, weights);
  DeltaMoments moments;
  std::vector<double> mean_squares;
  ForEachSegment(segments, weights, [&](size_t /*index*/, size_t first, size_t count) {
    const DeltaMoments part = MomentsOfLanes(dtype, Bytes(target), Bytes(parent), first, count);
    moments.Add(part);
    mean_squares.push_back(part.squared_delta / static_cast<double>(count));
  });
  if (!moments.finite || moments.squared_delta <= 0) return false;
  quantiser_.Quantise(dtype, target, parent, moments, params);
  const Header header{dtype, quantiser_.reconstruction(), segments};
  const double step = header.reconstruction.step;
  if (!(step >= kLeastStep && step <= kMostStep)) return false;

  ClassifySegments(mean_squares, moments.squared_delta / static_cast<double>(weights));
  if (segments.length == 0) segment_classes_.assign(1, 0);
  FillClasses(dtype, segments, Bytes(parent), weights, step);
  std::vector<uint8_t> present;
  const kernels::ClassCursor starts = StartsOf(counts_, present);
  partitioned_.resize(weights + kTrellisLanes);
  kernels::ClassCursor cursor = starts;
  kernels::PartitionSymbols(classes_.data(), present, quantiser_.symbols().data(), weights, cursor,
                            partitioned_.data());

  AppendHeader(header, payload);
  if (segments.length != 0) {
    const SymbolRun run{segment_classes_.data(), segment_classes_.size()};
    encoder_.Append({&run, 1}, payload);
  }
  std::vector<SymbolRun> runs;
  for (int c = 0; c < kQuantisedClasses; ++c) {
    runs.push_back({partitioned_.data() + starts[c], counts_[c]});
  }
  encoder_.Append(runs, payload);
  payload.append(quantiser_.escapes());
  quantiser_.TakeReconstructed(reconstructed);
  return true;
}

absl::Status QuantisedCoder::ReadSymbols(ByteReader& reader, DType dtype, double step,
                                         const Segments& segments, const uint8_t* parent,
                                         size_t weights) {
  const size_t segment_count = segments.Count(weights);
  segment_classes_.assign(segment_count + RunDecoder::kOverrunBytes, 0);
  if (segments.length != 0) {
    WDELTA_RETURN_IF_ERROR(decoder_.Read(reader, {&segment_count, 1}, segment_classes_.data()));
    const auto end = segment_classes_.begin() + static_cast<ptrdiff_t>(segment_count);
    if (*std::max_element(segment_classes_.begin(), end) >= kSegmentClasses) {
      return absl::DataLossError("class of a segment: expected 0 to 7");
    }
  }
  FillClasses(dtype, segments, parent, weights, step);
  std::vector<uint8_t> present;
  kernels::ClassCursor starts = StartsOf(counts_, present);
  partitioned_.resize(weights + std::max(RunDecoder::kOverrunBytes, kTrellisLanes));
  WDELTA_RETURN_IF_ERROR(decoder_.Read(reader, counts_, partitioned_.data()));
  symbols_.resize(Padded(weights));
  kernels::MergeSymbols(classes_.data(), present, partitioned_.data(), weights, starts,
                        symbols_.data());
  return absl::OkStatus();
}

absl::Status QuantisedCoder::Decode(int lane_bytes, absl::string_view payload,
                                    absl::string_view parent, char* destination, size_t size) {
  const auto lane = static_cast<size_t>(lane_bytes);
  const size_t weights = size / lane;
  ByteReader reader(payload);
  WDELTA_ASSIGN_OR_RETURN(const Header header, ReadHeader(reader, lane_bytes, size));
  WDELTA_RETURN_IF_ERROR(ReadSymbols(reader, header.dtype, header.reconstruction.step,
                                     header.segments, Bytes(parent), weights));
  magnitudes_.resize(Padded(weights));
  kernels::Magnitudes(symbols_.data(), weights, magnitudes_.data());
  kernels::Reconstruct(header.dtype, header.reconstruction, symbols_.data(), magnitudes_.data(),
                       Bytes(parent), weights, reinterpret_cast<uint8_t*>(destination));

  const uint8_t* const begin = symbols_.data();
  for (const uint8_t* at = begin; at < begin + weights; ++at) {
    at = static_cast<const uint8_t*>(std::memchr(at, kEscapedSymbol, begin + weights - at));
    if (at == nullptr) break;
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view bits, reader.ReadBytes(lane, "escaped lane"));
    std::memcpy(destination + (at - begin) * lane_bytes, bits.data(), lane);
  }
  if (reader.remaining() != 0) {
    return absl::DataLossError(
        absl::StrCat("quantised chunk: ", reader.remaining(), " bytes are left over"));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
