// SIMD needs gathers and a way to spread words over the states that ask for them:
// AVX-512 and AVX2 have both, other targets use the portable twin.
#include "storage/codec/kernels/rans_kernels.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/rans_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"
#include "storage/codec/kernels/narrow-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void FillSlots(const FrequencyTable& table, uint32_t* HWY_RESTRICT slots) {
  const hn::CappedTag<uint32_t, kSlotBlock> d;
  const auto step = static_cast<uint32_t>(hn::Lanes(d));
  const auto places = hn::ShiftLeft<20>(hn::Iota(d, 0));
  for (int s = table.first; s <= table.last; ++s) {
    const uint32_t frequency = table.frequency[s];
    auto entry = hn::Add(places, hn::Set(d, static_cast<uint32_t>(s) | (frequency << 8)));
    // Whole vectors: what is too much is overwritten by the next symbol.
    for (uint32_t place = 0; place < frequency; place += step) {
      hn::StoreU(entry, d, slots + place);
      entry = hn::Add(entry, hn::Set(d, step << 20));
    }
    slots += frequency;
  }
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL

using D32 = hn::ScalableTag<uint32_t>;
using V32 = hn::Vec<D32>;
constexpr size_t kStep = hn::MaxLanes(D32());

#if HWY_TARGET == HWY_AVX2
// Row m: for each of 8 lanes, the number of set bits of m below it.
struct SpreadTable {
  uint32_t rank[256][8];
  constexpr SpreadTable() : rank() {
    for (int m = 0; m < 256; ++m) {
      uint32_t below = 0;
      for (int lane = 0; lane < 8; ++lane) {
        rank[m][lane] = below;
        below += (m >> lane) & 1;
      }
    }
  }
};
constexpr SpreadTable kSpread;
#endif

// The next words go to the lanes of the mask, in order.
HWY_INLINE V32 SpreadWords(D32 d, hn::Mask<D32> mask, const uint8_t* next) {
  const hn::Rebind<uint16_t, D32> d16;
  const V32 words = hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(next)));
#if HWY_TARGET == HWY_AVX2
  uint8_t bits[8] = {0};
  hn::StoreMaskBits(d, mask, bits);
  return hn::TableLookupLanes(words, hn::SetTableIndices(d, kSpread.rank[bits[0]]));
#else
  return V32{_mm512_maskz_expand_epi32(mask.raw, words.raw)};
#endif
}

// Returns the groups of kLanes symbols done: all, or those for which words lie ahead for
// certain.
template <size_t kLanes>
HWY_INLINE size_t DecodeLoop(const uint32_t* HWY_RESTRICT slots, uint32_t* HWY_RESTRICT states,
                             RansInput& input, uint8_t* HWY_RESTRICT symbols, size_t groups) {
  constexpr size_t kVectors = kLanes / kStep;
  const D32 d;
  const hn::Rebind<int32_t, D32> di;
  V32 x[kVectors];
  for (size_t v = 0; v < kVectors; ++v) x[v] = hn::LoadU(d, states + v * kStep);
  const V32 slot_mask = hn::Set(d, kProbabilityScale - 1);
  const V32 frequency_mask = hn::Set(d, 0xfff);
  const V32 lowest = hn::Set(d, kRansLowest);
  const uint8_t* next = input.next;
  size_t done = 0;
  for (; done < groups; ++done) {
    if (static_cast<size_t>(input.end - next) < 2 * kLanes) break;
    V32 entry[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      entry[v] = hn::GatherIndex(d, slots, hn::BitCast(di, hn::And(x[v], slot_mask)));
    }
    for (size_t v = 0; v < kVectors; ++v) {
      StoreLowBytes(d, entry[v], symbols + v * kStep);
      const V32 frequency = hn::And(hn::ShiftRight<8>(entry[v]), frequency_mask);
      x[v] = hn::Add(hn::Mul(frequency, hn::ShiftRight<kProbabilityBits>(x[v])),
                     hn::ShiftRight<20>(entry[v]));
      const auto hungry = hn::Lt(x[v], lowest);
      const V32 fed = hn::Or(hn::ShiftLeft<16>(x[v]), SpreadWords(d, hungry, next));
      x[v] = hn::IfThenElse(hungry, fed, x[v]);
      next += 2 * hn::CountTrue(d, hungry);
    }
    symbols += kLanes;
  }
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(x[v], d, states + v * kStep);
  input.next = next;
  return done;
}

size_t DecodeGroups(const uint32_t* slots, uint32_t* states, size_t lanes, RansInput& input,
                    uint8_t* symbols, size_t groups) {
  return lanes == kMostRansLanes ? DecodeLoop<kMostRansLanes>(slots, states, input, symbols, groups)
                                 : DecodeLoop<kRansLanes>(slots, states, input, symbols, groups);
}

#else

size_t DecodeGroups(const uint32_t*, uint32_t*, size_t, RansInput&, uint8_t*, size_t) { return 0; }

#endif

#if HWY_TARGET == HWY_AVX3_DL

// One step of the states of kStep lanes.
HWY_INLINE V32 EncodeStep(D32 d, V32 x, V32 entry, uint8_t*& next) {
  const V32 frequency = hn::And(entry, hn::Set(d, 0xfff));
  const auto gives = hn::Not(hn::Lt(x, hn::ShiftLeft<20>(frequency)));
  const auto words = _mm512_cvtepi32_epi16(x.raw);
  const size_t count = hn::CountTrue(d, gives);
  next -= 2 * count;
  _mm256_mask_storeu_epi16(next, static_cast<__mmask16>((1u << count) - 1),
                           _mm256_maskz_compress_epi16(gives.raw, words));
  x = hn::IfThenElse(gives, hn::ShiftRight<16>(x), x);
  // The quotient from floats is at most one off, since it is below 2^20.
  const hn::Rebind<int32_t, D32> di;
  const auto ratio = _mm512_div_ps(_mm512_cvtepu32_ps(x.raw), _mm512_cvtepu32_ps(frequency.raw));
  V32 quotient{_mm512_cvttps_epu32(ratio)};
  V32 rest = hn::Sub(x, hn::Mul(quotient, frequency));
  const auto too_large = hn::Lt(hn::BitCast(di, rest), hn::Zero(di));
  const auto over = hn::RebindMask(d, too_large);
  quotient = hn::Sub(quotient, hn::IfThenElseZero(over, hn::Set(d, 1)));
  rest = hn::Add(rest, hn::IfThenElseZero(over, frequency));
  const auto under = hn::Not(hn::Lt(rest, frequency));
  quotient = hn::Add(quotient, hn::IfThenElseZero(under, hn::Set(d, 1)));
  rest = hn::Sub(rest, hn::IfThenElseZero(under, frequency));
  return hn::Add(hn::Add(hn::ShiftLeft<kProbabilityBits>(quotient), rest),
                 hn::ShiftRight<12>(entry));
}

// The last `groups` times kLanes symbols before `end`.
template <size_t kLanes>
HWY_INLINE uint8_t* EncodeLoop(const uint32_t* HWY_RESTRICT table, const uint8_t* HWY_RESTRICT end,
                               size_t groups, uint32_t* HWY_RESTRICT states, uint8_t* next) {
  constexpr size_t kVectors = kLanes / kStep;
  const D32 d;
  const hn::Rebind<int32_t, D32> di;
  const hn::Rebind<uint8_t, D32> d8;
  V32 x[kVectors];
  for (size_t v = 0; v < kVectors; ++v) x[v] = hn::LoadU(d, states + v * kStep);
  for (; groups > 0; --groups) {
    end -= kLanes;
    V32 entry[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      const auto symbols = hn::PromoteTo(di, hn::LoadU(d8, end + v * kStep));
      entry[v] = hn::GatherIndex(d, table, symbols);
    }
    // The decoder takes words in order of lane.
    for (size_t v = kVectors; v-- > 0;) x[v] = EncodeStep(d, x[v], entry[v], next);
  }
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(x[v], d, states + v * kStep);
  return next;
}

uint8_t* EncodeGroups(const uint32_t* table, const uint8_t* end, size_t groups, uint32_t* states,
                      size_t lanes, uint8_t* next) {
  return lanes == kMostRansLanes ? EncodeLoop<kMostRansLanes>(table, end, groups, states, next)
                                 : EncodeLoop<kRansLanes>(table, end, groups, states, next);
}

#else

uint8_t* EncodeGroups(const uint32_t*, const uint8_t*, size_t, uint32_t*, size_t, uint8_t*) {
  return nullptr;
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(FillSlots);
HWY_EXPORT(DecodeGroups);
HWY_EXPORT(EncodeGroups);

bool IsForSimd(size_t lanes) { return lanes == kRansLanes || lanes == kMostRansLanes; }

}  // namespace

void BuildSlots(const FrequencyTable& table, SlotTable& slots) {
  HWY_DYNAMIC_DISPATCH(FillSlots)(table, slots.data());
}

void BuildSymbols(const FrequencyTable& table, SymbolTable& symbols) {
  uint32_t start = 0;
  for (int s = table.first; s <= table.last; ++s) {
    symbols[s] = table.frequency[s] | start << 12;
    start += table.frequency[s];
  }
}

uint8_t* EncodeRans(const SymbolTable& table, const uint8_t* symbols, size_t count,
                    uint32_t* states, size_t lanes, uint8_t* next) {
  const size_t groups = IsForSimd(lanes) ? count / lanes : 0;
  const size_t grouped = groups * lanes;
  next = portable::EncodeRans(table, symbols + grouped, count - grouped, states, lanes, next);
  if (groups == 0) return next;
  uint8_t* const begin = HWY_DYNAMIC_DISPATCH(EncodeGroups)(table.data(), symbols + grouped, groups,
                                                            states, lanes, next);
  if (begin != nullptr) return begin;
  return portable::EncodeRans(table, symbols, grouped, states, lanes, next);
}

bool DecodeRans(const SlotTable& slots, uint32_t* states, size_t lanes, RansInput& input,
                uint8_t* symbols, size_t count) {
  size_t done = 0;
  if (IsForSimd(lanes)) {
    done = lanes * HWY_DYNAMIC_DISPATCH(DecodeGroups)(slots.data(), states, lanes, input, symbols,
                                                      count / lanes);
  }
  return portable::DecodeRans(slots, states, lanes, input, symbols + done, count - done);
}

namespace portable {
namespace {

// The quotient by the frequency is (state * reciprocal) >> 44: exact for every state
// below its limit, since frequencies are below 4096.
constexpr int kReciprocalShift = 44;

struct Divider {
  uint64_t reciprocal = 0;
  uint32_t limit = 0;       // states from here on give a word away first
  uint32_t complement = 0;  // kProbabilityScale - frequency
  uint32_t start = 0;
};

}  // namespace

uint8_t* EncodeRans(const SymbolTable& table, const uint8_t* symbols, size_t count,
                    uint32_t* states, size_t lanes, uint8_t* next) {
  if (count == 0) return next;
  std::array<Divider, kSymbolCount> dividers;
  for (int s = 0; s < kSymbolCount; ++s) {
    const uint32_t frequency = table[s] & 0xfff;
    if (frequency == 0) continue;
    dividers[s] = {(uint64_t{1} << kReciprocalShift) / frequency + 1, frequency << 20,
                   kProbabilityScale - frequency, table[s] >> 12};
  }
  for (size_t i = count; i-- > 0;) {
    const Divider& divider = dividers[symbols[i]];
    uint32_t& state = states[i & (lanes - 1)];
    uint32_t x = state;
    const uint32_t gives = x >= divider.limit ? 1 : 0;
    next[-2] = static_cast<uint8_t>(x);
    next[-1] = static_cast<uint8_t>(x >> 8);
    next -= 2 * gives;
    x >>= 16 * gives;
    const auto quotient = static_cast<uint32_t>((x * divider.reciprocal) >> kReciprocalShift);
    state = x + quotient * divider.complement + divider.start;
  }
  return next;
}

bool DecodeRans(const SlotTable& slots, uint32_t* states, size_t lanes, RansInput& input,
                uint8_t* symbols, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t& state = states[i & (lanes - 1)];
    const uint32_t entry = slots[state & (kProbabilityScale - 1)];
    symbols[i] = static_cast<uint8_t>(entry);
    state = ((entry >> 8) & 0xfff) * (state >> kProbabilityBits) + (entry >> 20);
    if (state >= kRansLowest) continue;
    if (input.end - input.next < 2) return false;
    state = state << 16 | static_cast<uint32_t>(input.next[0] | input.next[1] << 8);
    input.next += 2;
  }
  return true;
}

}  // namespace portable
}  // namespace wdelta::kernels
#endif  // HWY_ONCE
