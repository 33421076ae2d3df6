// Plain loops that compilers turn into vectors: included once for every instruction
// set, and once for the portable twin, inside their namespace.

// What hardware makes of a NaN is its own: the result has the sign, and of the mantissa the
// highest bit alone.
template <class From, class To>
inline typename To::Lane ConvertLane(typename From::Lane lane) {
  using FromLane = typename From::Lane;
  using Lane = typename To::Lane;
  constexpr FromLane kFromInfinity =
      static_cast<FromLane>(((uint64_t{1} << From::kExponentBits) - 1) << From::kMantissaBits);
  constexpr Lane kNan =
      static_cast<Lane>(((uint64_t{2} << To::kExponentBits) - 1) << (To::kMantissaBits - 1));
  const auto magnitude = static_cast<FromLane>(lane & static_cast<FromLane>(~FromLane{0}) >> 1);
  const auto sign = static_cast<Lane>(static_cast<Lane>(lane >> (8 * sizeof(FromLane) - 1))
                                      << (8 * sizeof(Lane) - 1));
  // By way of a float from double to the short dtypes.
  const Lane number = To::FromReal(static_cast<typename To::Real>(From::ToReal(lane)));
  return magnitude > kFromInfinity ? static_cast<Lane>(sign | kNan) : number;
}

template <class From, class To>
inline void ConvertLanes(const uint8_t* from, size_t count, uint8_t* to) {
  for (size_t i = 0; i < count; ++i) {
    StoreLane<To>(ConvertLane<From, To>(LoadLane<From>(from, i)), to, i);
  }
}

template <class From>
inline void ConvertFrom(const uint8_t* from, DType to_dtype, size_t count, uint8_t* to) {
  switch (to_dtype) {
    case DType::kF16:
      return ConvertLanes<From, F16Lanes>(from, count, to);
    case DType::kBF16:
      return ConvertLanes<From, BF16Lanes>(from, count, to);
    case DType::kF32:
      return ConvertLanes<From, F32Lanes>(from, count, to);
    default:
      return ConvertLanes<From, F64Lanes>(from, count, to);
  }
}

inline void ConvertAll(DType from_dtype, const uint8_t* from, DType to_dtype, size_t count,
                       uint8_t* to) {
  switch (from_dtype) {
    case DType::kF16:
      return ConvertFrom<F16Lanes>(from, to_dtype, count, to);
    case DType::kBF16:
      return ConvertFrom<BF16Lanes>(from, to_dtype, count, to);
    case DType::kF32:
      return ConvertFrom<F32Lanes>(from, to_dtype, count, to);
    default:
      return ConvertFrom<F64Lanes>(from, to_dtype, count, to);
  }
}
