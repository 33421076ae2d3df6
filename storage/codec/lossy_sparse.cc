#include "storage/codec/lossy_sparse.h"

#include <cmath>

#include "storage/codec/kernels/real_lanes.h"

namespace wdelta {
namespace {

template <class Lanes>
bool Keep(const uint8_t* target, const uint8_t* parent, size_t count, double threshold,
          uint8_t* kept) {
  bool finite = true;
  for (size_t i = 0; i < count; ++i) {
    const auto t = kernels::LoadLane<Lanes>(target, i);
    const auto p = kernels::LoadLane<Lanes>(parent, i);
    const double delta =
        static_cast<double>(Lanes::ToReal(t)) - static_cast<double>(Lanes::ToReal(p));
    finite = finite && std::isfinite(delta);
    kernels::StoreLane<Lanes>(std::abs(delta) >= threshold ? t : p, kept, i);
  }
  return finite;
}

}  // namespace

bool KeepLargest(DType dtype, absl::string_view target, absl::string_view parent, double threshold,
                 std::string& kept) {
  kept.resize(target.size());
  return kernels::WithRealLanes(dtype, [&](auto lanes) {
    return Keep<decltype(lanes)>(reinterpret_cast<const uint8_t*>(target.data()),
                                 reinterpret_cast<const uint8_t*>(parent.data()),
                                 target.size() / sizeof(typename decltype(lanes)::Lane), threshold,
                                 reinterpret_cast<uint8_t*>(kept.data()));
  });
}

}  // namespace wdelta
