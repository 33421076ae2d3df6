// Plain loops that compilers turn into vectors: included once for every instruction
// set, and once for the portable twin, inside their namespace.

// Each lane by itself, products and sums rounded one by one in ascending order of the
// factors: the same bits however many lanes are worked on at once.
template <class Lanes, size_t kLanes>
inline void CorrectBlock(const RowFactors& factors, size_t first, uint8_t* lanes) {
  float sums[kLanes] = {};
  for (size_t k = 0; k < factors.rank; ++k) {
    const float u = factors.u[k];
    const float* v = factors.v + k * factors.v_stride + first;
    for (size_t i = 0; i < kLanes; ++i) sums[i] += u * v[i];
  }
  constexpr uint32_t kInfinity = 0x7f800000;
  for (size_t i = 0; i < kLanes; ++i) {
    const typename Lanes::Lane lane = LoadLane<Lanes>(lanes, first + i);
    const float number = Lanes::ToReal(lane) + sums[i];
    const bool is_finite = (BitsAs<uint32_t>(number) & kInfinity) != kInfinity;
    StoreLane<Lanes>(is_finite ? Lanes::FromReal(number) : lane, lanes, first + i);
  }
}

template <class Lanes>
inline void CorrectLanes(const RowFactors& factors, size_t count, uint8_t* lanes) {
  constexpr size_t kLanes = 64;
  size_t first = 0;
  for (; first + kLanes <= count; first += kLanes) {
    CorrectBlock<Lanes, kLanes>(factors, first, lanes);
  }
  for (; first < count; ++first) CorrectBlock<Lanes, 1>(factors, first, lanes);
}

inline void CorrectAll(DType dtype, const RowFactors& factors, size_t count, uint8_t* lanes) {
  switch (dtype) {
    case DType::kF16:
      return CorrectLanes<F16Lanes>(factors, count, lanes);
    case DType::kBF16:
      return CorrectLanes<BF16Lanes>(factors, count, lanes);
    default:
      return CorrectLanes<F32Lanes>(factors, count, lanes);
  }
}
