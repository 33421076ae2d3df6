#include "storage/codec/entropy/run_coder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/entropy/bit_stream.h"
#include "storage/codec/entropy/frequency_table.h"
#include "storage/codec/kernels/rans_kernels.h"

namespace wdelta {
namespace {

using kernels::kMostRansLanes;
using kernels::kRansLanes;
using kernels::kRansLowest;

// Values are part of the format.
enum class LaneCode : uint8_t { kNone = 0, kFew = 1, kMany = 2, kMost = 3 };
enum class RunKind : uint8_t { kOwnTable = 0, kSameTable = 1, kConstant = 2, kRare = 3 };
constexpr int kRunKindBits = 2;
constexpr int kRiceBits = 5;
constexpr int kMaxCountBits = 32;
// Runs with a larger share of exceptions are not rare.
constexpr size_t kRareDivisor = 8;
constexpr size_t kFewLanes = 4;
// Fewer symbols are not worth the states of many lanes.
constexpr size_t kLeastForManyLanes = 16384;
constexpr size_t kLeastForMostLanes = 65536;

bool HasTable(RunKind kind) { return kind == RunKind::kOwnTable || kind == RunKind::kSameTable; }

size_t LanesOf(LaneCode code) {
  switch (code) {
    case LaneCode::kNone:
      return 0;
    case LaneCode::kFew:
      return kFewLanes;
    case LaneCode::kMany:
      return kRansLanes;
    case LaneCode::kMost:
      return kMostRansLanes;
  }
  return 0;
}

LaneCode LaneCodeFor(size_t symbols, RunLanes most) {
  if (symbols == 0) return LaneCode::kNone;
  if (symbols < kLeastForManyLanes) return LaneCode::kFew;
  const bool takes_most = most == RunLanes::kUpTo64 && symbols >= kLeastForMostLanes;
  return takes_most ? LaneCode::kMost : LaneCode::kMany;
}

SymbolCounts CountSymbols(const SymbolRun& run) {
  // Four histograms, so that equal neighbours do not wait for each other.
  std::array<SymbolCounts, 4> counts{};
  size_t i = 0;
  for (; i + 4 <= run.count; i += 4) {
    for (size_t h = 0; h < 4; ++h) ++counts[h][run.symbols[i + h]];
  }
  for (; i < run.count; ++i) ++counts[0][run.symbols[i]];
  for (int s = 0; s < kSymbolCount; ++s) counts[0][s] += counts[1][s] + counts[2][s] + counts[3][s];
  return counts[0];
}

// Consecutive runs that are coded with one table.
struct TableGroup {
  SymbolCounts counts{};
  FrequencyTable table;
  double bits = 0;  // of symbols and table
};

void Price(TableGroup& group) {
  group.table = BuildTable(group.counts);
  group.bits = CostBits(group.table, group.counts) + TableBits(group.table);
}

// A run of one symbol but for a few exceptions, told by their distances.
struct RareRun {
  uint8_t symbol = 0;
  int low_bits = 0;
  double bits = 0;  // of distances and exceptions
};

// nullopt when there are too many exceptions.
std::optional<RareRun> PlanRare(const SymbolCounts& counts, size_t count) {
  RareRun rare;
  const auto most = std::max_element(counts.begin(), counts.end());
  const size_t exceptions = count - *most;
  if (exceptions * kRareDivisor > count) return std::nullopt;
  rare.symbol = static_cast<uint8_t>(most - counts.begin());
  const double distance = static_cast<double>(count) / static_cast<double>(exceptions);
  rare.low_bits = std::max(0, static_cast<int>(std::lround(std::log2(0.69 * distance))));
  const double each = rare.low_bits + 1.0 + distance / std::ldexp(1.0, rare.low_bits) - 0.5;
  rare.bits = 8 + kRiceBits + 2 * std::log2(exceptions + 1.0) + each * exceptions;
  for (int s = 0; s < kSymbolCount; ++s) {
    if (s == rare.symbol || counts[s] == 0) continue;
    rare.bits += counts[s] * std::log2(static_cast<double>(exceptions) / counts[s]);
  }
  return rare;
}

struct PlannedRun {
  SymbolRun run;
  RunKind kind = RunKind::kConstant;
  size_t group = 0;  // with a table
  RareRun rare;
};

}  // namespace

struct RunEncoder::State {
  std::vector<PlannedRun> plan;
  std::vector<TableGroup> groups;
  std::vector<uint8_t> exceptions;  // of all rare runs: one more run
  std::unique_ptr<uint8_t[]> words;
  size_t word_capacity_bytes = 0;
  kernels::SymbolTable table{};

  // Joins a run to the last group where one table costs no more than two.
  void PlanRun(const SymbolRun& run, bool may_be_rare) {
    PlannedRun& planned = plan.emplace_back();
    planned.run = run;
    if (std::memcmp(run.symbols, run.symbols + 1, run.count - 1) == 0) return;
    TableGroup own;
    own.counts = CountSymbols(run);
    const std::optional<RareRun> rare =
        may_be_rare ? PlanRare(own.counts, run.count) : std::nullopt;
    Price(own);
    // A little more is worth it: what is rare needs no states and decodes fast.
    if (rare.has_value() && rare->bits < 1.02 * own.bits) {
      planned.kind = RunKind::kRare;
      planned.rare = *rare;
      return;
    }
    planned.kind = RunKind::kOwnTable;
    if (!groups.empty()) {
      TableGroup joint = own;
      for (int s = 0; s < kSymbolCount; ++s) joint.counts[s] += groups.back().counts[s];
      Price(joint);
      if (joint.bits <= own.bits + groups.back().bits) {
        groups.back() = joint;
        planned.kind = RunKind::kSameTable;
        planned.group = groups.size() - 1;
        return;
      }
    }
    groups.push_back(own);
    planned.group = groups.size() - 1;
  }

  void CollectExceptions() {
    for (const PlannedRun& planned : plan) {
      if (planned.kind != RunKind::kRare) continue;
      for (size_t i = 0; i < planned.run.count; ++i) {
        const uint8_t symbol = planned.run.symbols[i];
        if (symbol != planned.rare.symbol) exceptions.push_back(symbol);
      }
    }
  }

  static void WriteRare(const PlannedRun& planned, BitWriter& writer) {
    const RareRun& rare = planned.rare;
    std::vector<uint32_t> distances;
    size_t next = 0;
    for (size_t i = 0; i < planned.run.count; ++i) {
      if (planned.run.symbols[i] == rare.symbol) continue;
      distances.push_back(static_cast<uint32_t>(i - next));
      next = i + 1;
    }
    writer.Write(rare.symbol, 8);
    writer.Write(static_cast<uint32_t>(rare.low_bits), kRiceBits);
    writer.WriteGamma(static_cast<uint32_t>(distances.size()));
    for (const uint32_t distance : distances) writer.WriteRice(distance, rare.low_bits);
  }

  void WriteTables(std::string& out) const {
    std::string tables;
    BitWriter writer(&tables);
    for (const PlannedRun& planned : plan) {
      writer.Write(static_cast<uint32_t>(planned.kind), kRunKindBits);
      if (planned.kind == RunKind::kConstant) writer.Write(planned.run.symbols[0], 8);
      if (planned.kind == RunKind::kOwnTable) WriteTable(groups[planned.group].table, writer);
      if (planned.kind == RunKind::kRare) WriteRare(planned, writer);
    }
    writer.Finish();
    AppendSizedBytes(out, tables);
  }

  uint8_t* WordsEnd(size_t symbol_count) {
    const size_t needed = 2 * symbol_count + 2;
    if (word_capacity_bytes < needed) {
      words.reset(new uint8_t[needed]);
      word_capacity_bytes = needed;
    }
    return words.get() + word_capacity_bytes;
  }
};

RunEncoder::RunEncoder() : state_(std::make_unique<State>()) {}
RunEncoder::~RunEncoder() = default;
RunEncoder::RunEncoder(RunEncoder&&) noexcept = default;
RunEncoder& RunEncoder::operator=(RunEncoder&&) noexcept = default;

void RunEncoder::Append(absl::Span<const SymbolRun> runs, std::string& out, RunLanes most) {
  State& s = *state_;
  s.plan.clear();
  s.groups.clear();
  s.exceptions.clear();
  for (const SymbolRun& run : runs) {
    if (run.count > 0) s.PlanRun(run, /*may_be_rare=*/true);
  }
  s.CollectExceptions();
  if (!s.exceptions.empty()) {
    s.PlanRun({s.exceptions.data(), s.exceptions.size()}, /*may_be_rare=*/false);
  }
  size_t coded = 0;
  for (const PlannedRun& planned : s.plan) {
    if (HasTable(planned.kind)) coded += planned.run.count;
  }
  const LaneCode code = LaneCodeFor(coded, most);
  AppendU8(out, static_cast<uint8_t>(code));
  s.WriteTables(out);
  if (code == LaneCode::kNone) return;

  const size_t lanes = LanesOf(code);
  std::array<uint32_t, kMostRansLanes> states;
  states.fill(kRansLowest);
  uint8_t* const end = s.WordsEnd(coded);
  uint8_t* next = end;
  size_t built = s.groups.size();  // none
  for (auto planned = s.plan.rbegin(); planned != s.plan.rend(); ++planned) {
    if (!HasTable(planned->kind)) continue;
    if (built != planned->group) kernels::BuildSymbols(s.groups[planned->group].table, s.table);
    built = planned->group;
    next = kernels::EncodeRans(s.table, planned->run.symbols, planned->run.count, states.data(),
                               lanes, next);
  }
  for (size_t lane = 0; lane < lanes; ++lane) AppendU32(out, states[lane]);
  const size_t word_bytes = static_cast<size_t>(end - next);
  AppendVarint(out, word_bytes / 2);
  out.append(reinterpret_cast<const char*>(next), word_bytes);
}

struct RunDecoder::State {
  FrequencyTable table;
  kernels::SlotTable slots;
  bool has_table = false;
  std::array<uint32_t, kMostRansLanes> states;
  std::vector<uint8_t*> exceptions;  // places in the output
  std::vector<uint8_t> exception_symbols;

  absl::Status ReadStates(ByteReader& reader, size_t lanes, kernels::RansInput& input) {
    for (size_t lane = 0; lane < lanes; ++lane) {
      WDELTA_ASSIGN_OR_RETURN(states[lane], reader.ReadU32("rANS state"));
      if (states[lane] < kRansLowest) return absl::DataLossError("rANS state: below 65536");
    }
    WDELTA_ASSIGN_OR_RETURN(const uint64_t words, reader.ReadVarint("rANS words"));
    if (words > reader.remaining() / 2) {
      return absl::DataLossError(
          absl::StrCat("rANS words: expected at most ", reader.remaining() / 2, ", found ", words));
    }
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes,
                            reader.ReadBytes(2 * words, "rANS words"));
    input.next = reinterpret_cast<const uint8_t*>(bytes.data());
    input.end = input.next + bytes.size();
    return absl::OkStatus();
  }

  // Every state is back where the encoder began, and no word is left.
  bool IsSpent(size_t lanes, const kernels::RansInput& input) const {
    return input.next == input.end && std::all_of(states.begin(), states.begin() + lanes,
                                                  [](uint32_t x) { return x == kRansLowest; });
  }

  // Fills the run with its common symbol and notes where the exceptions are.
  absl::Status ReadRare(BitReader& tables, uint8_t* symbols, size_t count) {
    std::memset(symbols, static_cast<int>(tables.Read(8)), count);
    const int low_bits = static_cast<int>(tables.Read(kRiceBits));
    const size_t exception_count = tables.ReadGamma(kMaxCountBits);
    if (exception_count > count) {
      return absl::DataLossError(absl::StrCat("exceptions of a run: expected at most ", count,
                                              ", found ", exception_count));
    }
    size_t next = 0;
    for (size_t i = 0; i < exception_count; ++i) {
      const auto most = static_cast<uint32_t>((count - next) >> low_bits);
      const uint32_t distance = tables.ReadRice(low_bits, most);
      if (!tables.ok() || distance >= count - next) {
        return absl::DataLossError("exceptions of a run: beyond its end");
      }
      exceptions.push_back(symbols + next + distance);
      next += size_t{distance} + 1;
    }
    return absl::OkStatus();
  }

  absl::Status ReadRun(BitReader& tables, size_t lanes, kernels::RansInput& input, uint8_t* symbols,
                       size_t count) {
    const auto kind = static_cast<RunKind>(tables.Read(kRunKindBits));
    if (kind == RunKind::kConstant) {
      std::memset(symbols, static_cast<int>(tables.Read(8)), count);
      return absl::OkStatus();
    }
    if (kind == RunKind::kRare) {
      if (symbols == exception_symbols.data()) {
        return absl::DataLossError("kind of the run of exceptions: expected 0 to 2, found 3");
      }
      return ReadRare(tables, symbols, count);
    }
    if (kind == RunKind::kOwnTable) {
      if (!ReadTable(tables, table)) return absl::DataLossError("frequency table: damaged");
      kernels::BuildSlots(table, slots);
      has_table = true;
    }
    if (!has_table || lanes == 0) {
      return absl::DataLossError("run: expected a table and states, found none");
    }
    if (!kernels::DecodeRans(slots, states.data(), lanes, input, symbols, count)) {
      return absl::DataLossError("rANS words end early");
    }
    return absl::OkStatus();
  }
};

RunDecoder::RunDecoder() : state_(std::make_unique<State>()) {}
RunDecoder::~RunDecoder() = default;
RunDecoder::RunDecoder(RunDecoder&&) noexcept = default;
RunDecoder& RunDecoder::operator=(RunDecoder&&) noexcept = default;

absl::Status RunDecoder::Read(ByteReader& reader, absl::Span<const size_t> counts, uint8_t* symbols,
                              RunLanes most) {
  State& s = *state_;
  s.has_table = false;
  s.exceptions.clear();
  WDELTA_ASSIGN_OR_RETURN(const uint8_t code, reader.ReadU8("lane code"));
  const auto last = most == RunLanes::kUpTo64 ? LaneCode::kMost : LaneCode::kMany;
  if (code > static_cast<uint8_t>(last)) {
    return absl::DataLossError(
        absl::StrCat("lane code: expected 0 to ", static_cast<int>(last), ", found ", code));
  }
  const size_t lanes = LanesOf(static_cast<LaneCode>(code));
  const bool has_states = lanes > 0;
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view table_bytes,
                          reader.ReadSizedBytes(reader.remaining(), "tables"));
  BitReader tables(table_bytes);
  kernels::RansInput input;
  if (has_states) WDELTA_RETURN_IF_ERROR(s.ReadStates(reader, lanes, input));
  for (const size_t count : counts) {
    if (count == 0) continue;
    WDELTA_RETURN_IF_ERROR(s.ReadRun(tables, lanes, input, symbols, count));
    symbols += count;
  }
  if (!s.exceptions.empty()) {
    s.exception_symbols.resize(s.exceptions.size() + kOverrunBytes);
    uint8_t* const found = s.exception_symbols.data();
    WDELTA_RETURN_IF_ERROR(s.ReadRun(tables, lanes, input, found, s.exceptions.size()));
    for (size_t i = 0; i < s.exceptions.size(); ++i) *s.exceptions[i] = found[i];
  }
  if (!tables.Finish()) {
    return absl::DataLossError("tables: end early or late");
  }
  if (has_states && !s.IsSpent(lanes, input)) {
    return absl::DataLossError("rANS states or words are left over");
  }
  return absl::OkStatus();
}

}  // namespace wdelta
