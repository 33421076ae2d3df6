// Plain loops that compilers turn into vectors: included once for every instruction
// set, and once for the portable twin, inside their namespace.

// base + how far the parent's ulp is above the step, in classes of an octave.
template <class Lanes>
inline void FillClasses(int step_exponent, uint8_t base, const uint8_t* parent, size_t first,
                        size_t count, uint8_t* classes) {
  using Lane = typename Lanes::Lane;
  constexpr int kBias = (1 << (Lanes::kExponentBits - 1)) - 1;
  constexpr Lane kFieldMask = static_cast<Lane>((1u << Lanes::kExponentBits) - 1);
  const auto offset = static_cast<int16_t>(1 - kBias - Lanes::kMantissaBits - step_exponent);
  for (size_t i = first; i < count; ++i) {
    const Lane lane = LoadLane<Lanes>(parent, i);
    const auto field = static_cast<int16_t>((lane >> Lanes::kMantissaBits) & kFieldMask);
    const auto above = static_cast<int16_t>((field > 1 ? field : 1) + offset);
    const int16_t octave = above < 0                      ? 0
                           : above > kExponentClasses - 1 ? kExponentClasses - 1
                                                          : above;
    classes[i] = static_cast<uint8_t>(base + octave * kSegmentClasses);
  }
}
