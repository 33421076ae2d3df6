// Plain loops that compilers turn into vectors: included once for every instruction
// set, and once for the portable twin, inside their namespace.

// Products and sums of one lane are rounded one by one, in ascending order of the factors: the
// same bits however many lanes are worked on at once.
template <class Lanes>
inline void AddSums(const float* sums, size_t count, uint8_t* lanes) {
  constexpr uint32_t kInfinity = 0x7f800000;
  for (size_t i = 0; i < count; ++i) {
    const typename Lanes::Lane lane = LoadLane<Lanes>(lanes, i);
    const float number = Lanes::ToReal(lane) + sums[i];
    const bool is_finite = (BitsAs<uint32_t>(number) & kInfinity) != kInfinity;
    StoreLane<Lanes>(is_finite ? Lanes::FromReal(number) : lane, lanes, i);
  }
}

inline void AddSums(DType dtype, const float* sums, size_t count, uint8_t* lanes) {
  switch (dtype) {
    case DType::kF16:
      return AddSums<F16Lanes>(sums, count, lanes);
    case DType::kBF16:
      return AddSums<BF16Lanes>(sums, count, lanes);
    default:
      return AddSums<F32Lanes>(sums, count, lanes);
  }
}
