#include "storage/codec/reference/reference_runs.h"

#include <algorithm>

#include "storage/base/status_macros.h"

namespace wdelta::reference {
namespace {

absl::Status Bad(absl::string_view what) { return absl::DataLossError(what); }

// One bit at a time.
class Bits {
 public:
  explicit Bits(absl::string_view bytes) : bytes_(bytes) {}

  absl::StatusOr<uint32_t> Number(int bits) {
    uint32_t number = 0;
    for (int i = 0; i < bits; ++i) {
      WDELTA_ASSIGN_OR_RETURN(const uint32_t bit, Bit());
      number += bit << i;
    }
    return number;
  }

  absl::StatusOr<uint32_t> Gamma() {
    int zeros = 0;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const uint32_t bit, Bit());
      if (bit == 1) break;
      if (++zeros > 30) return Bad("gamma code too long");
    }
    uint32_t code = 1;
    for (int i = 0; i < zeros; ++i) {
      WDELTA_ASSIGN_OR_RETURN(const uint32_t bit, Bit());
      code = 2 * code + bit;
    }
    return code - 1;
  }

  absl::Status CheckEnd() const {
    if ((next_ + 7) / 8 != bytes_.size()) return Bad("tables end early or late");
    for (size_t i = next_; i < 8 * bytes_.size(); ++i) {
      if (At(i) != 0) return Bad("bits behind the tables");
    }
    return absl::OkStatus();
  }

 private:
  uint32_t At(size_t i) const { return static_cast<uint8_t>(bytes_[i / 8]) >> (i % 8) & 1; }
  absl::StatusOr<uint32_t> Bit() {
    if (next_ >= 8 * bytes_.size()) return Bad("tables end early");
    return At(next_++);
  }

  const absl::string_view bytes_;
  size_t next_ = 0;
};

using Frequencies = std::vector<uint32_t>;

absl::StatusOr<Frequencies> TakeTable(Bits& bits) {
  WDELTA_ASSIGN_OR_RETURN(const uint32_t first, bits.Number(8));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t last, bits.Number(8));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t first_level, bits.Number(6));
  if (first >= last) return Bad("table of fewer than two symbols");
  std::vector<int> levels(256, 0);
  levels[first] = static_cast<int>(first_level);
  for (uint32_t s = first + 1; s <= last; ++s) {
    WDELTA_ASSIGN_OR_RETURN(const uint32_t code, bits.Gamma());
    const int half = static_cast<int>((code + 1) / 2);
    levels[s] = levels[s - 1] + (code % 2 == 0 ? half : -half);
    if (levels[s] < 0 || levels[s] > 37) return Bad("level out of range");
    if (levels[s] != 0) continue;
    WDELTA_ASSIGN_OR_RETURN(const uint32_t more, bits.Gamma());
    if (more > last - s) return Bad("absent symbols beyond the last");
    s += more;
  }
  if (levels[first] < 1 || levels[first] > 37 || levels[last] < 1) return Bad("level of an end");
  std::vector<uint64_t> weights(256, 0);
  uint64_t total = 0;
  for (int s = 0; s < 256; ++s) {
    if (levels[s] == 0) continue;
    const uint64_t thirds[3] = {1024, 1290, 1625};
    weights[s] = thirds[(levels[s] - 1) % 3] << ((levels[s] - 1) / 3);
    total += weights[s];
  }
  Frequencies frequencies(256, 0);
  int sum = 0;
  for (int s = 0; s < 256; ++s) {
    if (weights[s] == 0) continue;
    frequencies[s] = static_cast<uint32_t>(std::max<uint64_t>(1, weights[s] * 4096 / total));
    sum += static_cast<int>(frequencies[s]);
  }
  for (; sum < 4096; ++sum) ++*std::max_element(frequencies.begin(), frequencies.end());
  for (; sum > 4096; --sum) --*std::max_element(frequencies.begin(), frequencies.end());
  return frequencies;
}

absl::StatusOr<uint8_t> DecodeSymbol(const Frequencies& frequencies, uint64_t& x,
                                     absl::string_view& words) {
  const uint32_t slot = x % 4096;
  uint32_t start = 0;
  int symbol = 0;
  while (slot >= start + frequencies[symbol]) start += frequencies[symbol++];
  x = frequencies[symbol] * (x / 4096) + slot - start;
  if (x < 65536) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view word, Take(words, 2));
    x = x * 65536 + static_cast<uint8_t>(word[0]) + 256 * static_cast<uint8_t>(word[1]);
  }
  return static_cast<uint8_t>(symbol);
}

// Places of the exceptions in a run of `count` symbols, which is filled with the other
// symbol.
absl::StatusOr<std::vector<size_t>> TakeRare(Bits& bits, size_t count, std::vector<uint8_t>& run) {
  WDELTA_ASSIGN_OR_RETURN(const uint32_t symbol, bits.Number(8));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t low_bits, bits.Number(5));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t exceptions, bits.Gamma());
  if (exceptions > count) return Bad("more exceptions than symbols");
  run.assign(count, static_cast<uint8_t>(symbol));
  std::vector<size_t> places;
  uint64_t at = 0;
  for (uint32_t i = 0; i < exceptions; ++i) {
    uint64_t high = 0;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const uint32_t bit, bits.Number(1));
      if (bit == 1) break;
      ++high;
    }
    WDELTA_ASSIGN_OR_RETURN(const uint32_t low, bits.Number(static_cast<int>(low_bits)));
    if (high > count) return Bad("exception beyond the run");
    at += (high << low_bits) + low;
    if (at >= count) return Bad("exception beyond the run");
    places.push_back(at++);
  }
  return places;
}

struct States {
  std::vector<uint64_t> x;
  absl::string_view words;
};

absl::StatusOr<States> TakeStates(absl::string_view& rest, size_t lanes) {
  States states;
  for (size_t lane = 0; lane < lanes; ++lane) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes, Take(rest, 4));
    uint64_t x = 0;
    for (int i = 3; i >= 0; --i) x = 256 * x + static_cast<uint8_t>(bytes[i]);
    if (x < 65536) return Bad("state below 65536");
    states.x.push_back(x);
  }
  WDELTA_ASSIGN_OR_RETURN(const uint64_t words, TakeVarint(rest));
  if (words > rest.size()) return Bad("words beyond the end");
  WDELTA_ASSIGN_OR_RETURN(states.words, Take(rest, 2 * words));
  return states;
}

}  // namespace

absl::StatusOr<absl::string_view> Take(absl::string_view& rest, uint64_t count) {
  if (count > rest.size()) return Bad("payload ends early");
  const absl::string_view taken = rest.substr(0, count);
  rest.remove_prefix(count);
  return taken;
}

absl::StatusOr<uint64_t> TakeVarint(absl::string_view& rest) {
  uint64_t value = 0;
  for (int group = 0; group < 10; ++group) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view one, Take(rest, 1));
    const uint64_t byte = static_cast<uint8_t>(one[0]);
    if (group > 0 && byte == 0) return Bad("varint with a redundant group");
    if (group == 9 && byte > 1) return Bad("varint over 64 bits");
    value |= (byte & 0x7f) << (7 * group);
    if (byte < 0x80) return value;
  }
  return Bad("varint over 10 bytes");
}

absl::StatusOr<std::vector<std::vector<uint8_t>>> TakeRuns(absl::string_view& rest,
                                                           const std::vector<size_t>& counts,
                                                           size_t most_lanes) {
  constexpr size_t kLanes[] = {0, 4, 32, 64};
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view code, Take(rest, 1));
  if (static_cast<uint8_t>(code[0]) > 3) return Bad("unknown lane code");
  const size_t lanes = kLanes[static_cast<uint8_t>(code[0])];
  if (lanes > most_lanes) return Bad("lane code of another mode");
  WDELTA_ASSIGN_OR_RETURN(const uint64_t table_bytes, TakeVarint(rest));
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view tables, Take(rest, table_bytes));
  States states;
  if (lanes > 0) {
    WDELTA_ASSIGN_OR_RETURN(states, TakeStates(rest, lanes));
  }
  Bits bits(tables);
  Frequencies frequencies;
  std::vector<std::vector<uint8_t>> runs;
  std::vector<std::pair<size_t, size_t>> exceptions;  // run and place
  std::vector<size_t> all_counts = counts;
  for (size_t r = 0; r < all_counts.size(); ++r) {
    const size_t count = all_counts[r];
    std::vector<uint8_t>& run = runs.emplace_back();
    // Behind the last run comes one of the exceptions, if there are any.
    const auto add_exceptions = [&] {
      if (r + 1 == counts.size() && !exceptions.empty()) all_counts.push_back(exceptions.size());
    };
    if (count == 0) {
      add_exceptions();
      continue;
    }
    WDELTA_ASSIGN_OR_RETURN(const uint32_t kind, bits.Number(2));
    if (kind == 2) {
      WDELTA_ASSIGN_OR_RETURN(const uint32_t symbol, bits.Number(8));
      run.assign(count, static_cast<uint8_t>(symbol));
      add_exceptions();
      continue;
    }
    if (kind == 3) {
      if (r >= counts.size()) return Bad("exceptions of exceptions");
      WDELTA_ASSIGN_OR_RETURN(const std::vector<size_t> places, TakeRare(bits, count, run));
      for (const size_t place : places) exceptions.emplace_back(r, place);
      add_exceptions();
      continue;
    }
    if (kind == 0) {
      WDELTA_ASSIGN_OR_RETURN(frequencies, TakeTable(bits));
    }
    if (frequencies.empty() || lanes == 0) return Bad("run without table or states");
    for (size_t i = 0; i < count; ++i) {
      WDELTA_ASSIGN_OR_RETURN(const uint8_t symbol,
                              DecodeSymbol(frequencies, states.x[i % lanes], states.words));
      run.push_back(symbol);
    }
    add_exceptions();
  }
  if (!exceptions.empty()) {
    for (size_t i = 0; i < exceptions.size(); ++i) {
      runs[exceptions[i].first][exceptions[i].second] = runs.back()[i];
    }
    runs.pop_back();
  }
  WDELTA_RETURN_IF_ERROR(bits.CheckEnd());
  for (const uint64_t x : states.x) {
    if (x != 65536) return Bad("state that is not spent");
  }
  if (!states.words.empty()) return Bad("words are left");
  return runs;
}

}  // namespace wdelta::reference
