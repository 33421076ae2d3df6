#include "storage/codec/lossy_onebit.h"

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/real_lanes.h"
#include "storage/codec/lossy_moments.h"

namespace wdelta {
namespace {

constexpr size_t kSignsPerByte = 8;

const uint8_t* Bytes(absl::string_view view) {
  return reinterpret_cast<const uint8_t*>(view.data());
}

template <class Lanes>
void AppendSigns(const uint8_t* target, const uint8_t* parent, size_t weights,
                 std::vector<uint8_t>& signs) {
  for (size_t i = 0; i < weights; i += kSignsPerByte) {
    int bits = 0;
    for (size_t j = i; j < std::min(weights, i + kSignsPerByte); ++j) {
      const bool negative =
          kernels::LoadReal<Lanes>(target, j) < kernels::LoadReal<Lanes>(parent, j);
      bits |= (negative ? 1 : 0) << (j - i);
    }
    signs.push_back(static_cast<uint8_t>(bits));
  }
}

template <class Lanes>
void AddSigned(const uint8_t* parent, const uint8_t* signs, uint16_t scale, size_t first,
               size_t count, uint8_t* target) {
  using Real = typename Lanes::Real;
  const Real value = kernels::BF16Lanes::ToReal(scale);
  for (size_t i = first; i < first + count; ++i) {
    const auto lane = kernels::LoadLane<Lanes>(parent, i);
    const bool negative = ((signs[i / kSignsPerByte] >> (i % kSignsPerByte)) & 1) != 0;
    const Real sum = Lanes::ToReal(lane) + (negative ? -value : value);
    kernels::StoreLane<Lanes>(scale == 0 ? lane : Lanes::FromReal(sum), target, i);
  }
}

}  // namespace

void OneBitCoder::Reconstruct(DType dtype, const Segments& segments, const uint8_t* parent,
                              size_t weights, char* destination) const {
  const size_t rows = segments.Count(weights);
  const uint8_t* const signs = symbols_.data() + 2 * rows;
  ForEachSegment(segments, weights, [&](size_t row, size_t first, size_t count) {
    const auto scale = static_cast<uint16_t>(symbols_[row] | (symbols_[rows + row] << 8));
    kernels::WithRealLanes(dtype, [&](auto lanes) {
      AddSigned<decltype(lanes)>(parent, signs, scale, first, count,
                                 reinterpret_cast<uint8_t*>(destination));
    });
  });
}

bool OneBitCoder::Encode(DType dtype, const ChunkGeometry& geometry, absl::string_view target,
                         absl::string_view parent, const LossyParams& params, std::string& payload,
                         std::string& reconstructed) {
  const size_t weights = target.size() / static_cast<size_t>(LaneBytes(dtype));
  const Segments segments = SegmentsOf(geometry, weights);
  const size_t rows = segments.Count(weights);
  symbols_.resize(2 * rows);
  bool finite = true;
  ForEachSegment(segments, weights, [&](size_t row, size_t first, size_t count) {
    const DeltaMoments moments = MomentsOfLanes(dtype, Bytes(target), Bytes(parent), first, count);
    finite = finite && moments.finite;
    const double mean = moments.absolute_delta / static_cast<double>(count) * params.gain;
    const uint16_t scale = kernels::BF16Lanes::FromReal(static_cast<float>(mean));
    symbols_[row] = static_cast<uint8_t>(scale & 0xff);
    symbols_[rows + row] = static_cast<uint8_t>(scale >> 8);
  });
  if (!finite) return false;
  kernels::WithRealLanes(dtype, [&](auto lanes) {
    AppendSigns<decltype(lanes)>(Bytes(target), Bytes(parent), weights, symbols_);
  });

  AppendU8(payload, static_cast<uint8_t>(dtype));
  AppendSegments(segments, payload);
  const uint8_t* const symbols = symbols_.data();
  const SymbolRun runs[] = {
      {symbols, rows}, {symbols + rows, rows}, {symbols + 2 * rows, symbols_.size() - 2 * rows}};
  encoder_.Append(runs, payload);
  reconstructed.resize(target.size());
  Reconstruct(dtype, segments, Bytes(parent), weights, reconstructed.data());
  return true;
}

absl::Status OneBitCoder::Decode(int lane_bytes, absl::string_view payload,
                                 absl::string_view parent, char* destination, size_t size) {
  const auto lane = static_cast<size_t>(lane_bytes);
  const size_t weights = size / lane;
  ByteReader reader(payload);
  WDELTA_ASSIGN_OR_RETURN(const DType dtype, ReadLossyDType(reader, lane_bytes, size));
  WDELTA_ASSIGN_OR_RETURN(const Segments segments, ReadSegments(reader, weights));
  const size_t rows = segments.Count(weights);
  const size_t counts[] = {rows, rows, (weights + kSignsPerByte - 1) / kSignsPerByte};
  symbols_.resize(2 * rows + counts[2] + RunDecoder::kOverrunBytes);
  WDELTA_RETURN_IF_ERROR(decoder_.Read(reader, counts, symbols_.data()));
  if (reader.remaining() != 0) return absl::DataLossError("one-bit chunk: bytes are left over");
  Reconstruct(dtype, segments, Bytes(parent), weights, destination);
  return absl::OkStatus();
}

}  // namespace wdelta
