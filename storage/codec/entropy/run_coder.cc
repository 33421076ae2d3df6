#include "storage/codec/entropy/run_coder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/entropy/bit_stream.h"
#include "storage/codec/entropy/frequency_table.h"
#include "storage/codec/kernels/rans_kernels.h"

namespace wdelta {
namespace {

using kernels::kRansLanes;
using kernels::kRansLowest;

// Values are part of the format.
enum class LaneCode : uint8_t { kNone = 0, kFew = 1, kMany = 2 };
enum class RunKind : uint8_t { kOwnTable = 0, kSameTable = 1, kConstant = 2 };
constexpr int kRunKindBits = 2;
constexpr size_t kFewLanes = 4;
// Fewer symbols are not worth the states of many lanes.
constexpr size_t kLeastForManyLanes = 4096;

size_t LanesOf(LaneCode code) { return code == LaneCode::kMany ? kRansLanes : kFewLanes; }

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

// What the encoder's inner loop needs of a symbol. The quotient by the frequency is
// (state * reciprocal) >> 44: exact for every state below `limit`, since frequencies
// are below 4096.
struct EncoderSymbol {
  uint64_t reciprocal = 0;
  uint32_t limit = 0;       // states from here on give a word away first
  uint32_t complement = 0;  // kProbabilityScale - frequency
  uint32_t start = 0;       // sum of the frequencies of the symbols before
};
constexpr int kReciprocalShift = 44;

using EncoderTable = std::array<EncoderSymbol, kSymbolCount>;

void BuildEncoderTable(const FrequencyTable& table, EncoderTable& symbols) {
  uint32_t start = 0;
  for (int s = table.first; s <= table.last; ++s) {
    const uint32_t frequency = table.frequency[s];
    if (frequency == 0) continue;
    symbols[s] = {(uint64_t{1} << kReciprocalShift) / frequency + 1, frequency << 20,
                  kProbabilityScale - frequency, start};
    start += frequency;
  }
}

// Symbols last to first; words go to the bytes before `next`, which is returned.
uint8_t* EncodeBackwards(const EncoderTable& table, const SymbolRun& run, uint32_t* states,
                         size_t lanes, uint8_t* next) {
  for (size_t i = run.count; i-- > 0;) {
    const EncoderSymbol& symbol = table[run.symbols[i]];
    uint32_t& state = states[i & (lanes - 1)];
    uint32_t x = state;
    const uint32_t gives = x >= symbol.limit ? 1 : 0;
    next[-2] = static_cast<uint8_t>(x);
    next[-1] = static_cast<uint8_t>(x >> 8);
    next -= 2 * gives;
    x >>= 16 * gives;
    const auto quotient = static_cast<uint32_t>((x * symbol.reciprocal) >> kReciprocalShift);
    state = x + quotient * symbol.complement + symbol.start;
  }
  return next;
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

struct PlannedRun {
  RunKind kind = RunKind::kConstant;
  size_t group = 0;  // unless constant
};

}  // namespace

struct RunEncoder::State {
  std::vector<PlannedRun> plan;
  std::vector<TableGroup> groups;
  std::unique_ptr<uint8_t[]> words;
  size_t word_capacity_bytes = 0;
  EncoderTable table;

  // Joins a run to the last group where one table costs no more than two.
  void PlanRun(const SymbolRun& run) {
    if (std::memcmp(run.symbols, run.symbols + 1, run.count - 1) == 0) {
      plan.push_back({RunKind::kConstant, 0});
      return;
    }
    TableGroup own;
    own.counts = CountSymbols(run);
    Price(own);
    if (!groups.empty()) {
      TableGroup joint = own;
      for (int s = 0; s < kSymbolCount; ++s) joint.counts[s] += groups.back().counts[s];
      Price(joint);
      if (joint.bits <= own.bits + groups.back().bits) {
        groups.back() = joint;
        plan.push_back({RunKind::kSameTable, groups.size() - 1});
        return;
      }
    }
    groups.push_back(own);
    plan.push_back({RunKind::kOwnTable, groups.size() - 1});
  }

  void WriteTables(absl::Span<const SymbolRun> runs, std::string& out) const {
    std::string tables;
    BitWriter writer(&tables);
    for (size_t r = 0, planned = 0; r < runs.size(); ++r) {
      if (runs[r].count == 0) continue;
      const PlannedRun& run = plan[planned++];
      writer.Write(static_cast<uint32_t>(run.kind), kRunKindBits);
      if (run.kind == RunKind::kConstant) writer.Write(runs[r].symbols[0], 8);
      if (run.kind == RunKind::kOwnTable) WriteTable(groups[run.group].table, writer);
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

void RunEncoder::Append(absl::Span<const SymbolRun> runs, std::string& out) {
  State& s = *state_;
  s.plan.clear();
  s.groups.clear();
  for (const SymbolRun& run : runs) {
    if (run.count > 0) s.PlanRun(run);
  }
  size_t coded = 0;
  for (size_t r = 0, planned = 0; r < runs.size(); ++r) {
    if (runs[r].count == 0) continue;
    if (s.plan[planned++].kind != RunKind::kConstant) coded += runs[r].count;
  }
  const LaneCode code = coded == 0                   ? LaneCode::kNone
                        : coded < kLeastForManyLanes ? LaneCode::kFew
                                                     : LaneCode::kMany;
  AppendU8(out, static_cast<uint8_t>(code));
  s.WriteTables(runs, out);
  if (code == LaneCode::kNone) return;

  const size_t lanes = LanesOf(code);
  std::array<uint32_t, kRansLanes> states;
  states.fill(kRansLowest);
  uint8_t* const end = s.WordsEnd(coded);
  uint8_t* next = end;
  size_t built = s.groups.size();  // none
  for (size_t r = runs.size(), planned = s.plan.size(); r-- > 0;) {
    if (runs[r].count == 0) continue;
    const PlannedRun& run = s.plan[--planned];
    if (run.kind == RunKind::kConstant) continue;
    if (built != run.group) BuildEncoderTable(s.groups[run.group].table, s.table);
    built = run.group;
    next = EncodeBackwards(s.table, runs[r], states.data(), lanes, next);
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
  std::array<uint32_t, kRansLanes> states;

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

  absl::Status ReadRun(BitReader& tables, size_t lanes, kernels::RansInput& input, uint8_t* symbols,
                       size_t count) {
    const auto kind = static_cast<RunKind>(tables.Read(kRunKindBits));
    if (kind == RunKind::kConstant) {
      std::memset(symbols, static_cast<int>(tables.Read(8)), count);
      return absl::OkStatus();
    }
    if (kind == RunKind::kOwnTable) {
      if (!ReadTable(tables, table)) return absl::DataLossError("frequency table: damaged");
      kernels::BuildSlots(table, slots);
      has_table = true;
    } else if (kind != RunKind::kSameTable) {
      return absl::DataLossError("kind of run: expected 0 to 2, found 3");
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

absl::Status RunDecoder::Read(ByteReader& reader, absl::Span<const size_t> counts,
                              uint8_t* symbols) {
  State& s = *state_;
  s.has_table = false;
  WDELTA_ASSIGN_OR_RETURN(const uint8_t code, reader.ReadU8("lane code"));
  if (code > static_cast<uint8_t>(LaneCode::kMany)) {
    return absl::DataLossError(absl::StrCat("lane code: expected 0 to 2, found ", code));
  }
  const bool has_states = code != static_cast<uint8_t>(LaneCode::kNone);
  const size_t lanes = has_states ? LanesOf(static_cast<LaneCode>(code)) : 0;
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
  if (!tables.Finish() || tables.ByteCount() != table_bytes.size()) {
    return absl::DataLossError("tables: end early or late");
  }
  if (has_states && !s.IsSpent(lanes, input)) {
    return absl::DataLossError("rANS states or words are left over");
  }
  return absl::OkStatus();
}

}  // namespace wdelta
