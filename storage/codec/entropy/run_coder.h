// Entropy coder of byte symbols that come in runs, each run with a table of its own.
//
// rANS after J. Duda, "Asymmetric numeral systems" (arXiv:1311.2540): 32 or 64 interleaved
// states of 32 bits (4 for few symbols) that emit 16-bit words, probabilities of 12 bits.
// All runs share the states, so that a short run costs its table and nothing else; runs of
// one symbol with rare exceptions are told by distances instead. The bytes are specified
// in storage/wdelta/FORMAT.md ("Runs").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "storage/base/byte_reader.h"

namespace wdelta {

// Symbols of 0 to 255, `count` of them, coded with one table.
struct SymbolRun {
  const uint8_t* symbols = nullptr;
  size_t count = 0;
};

// The most interleaved states. Twice as many decode a fifth faster, with AVX-512, and cost about
// 100 bytes; only chunk modes that had them from the beginning know of them.
enum class RunLanes : size_t { kUpTo32 = 32, kUpTo64 = 64 };

// Hold scratch memory: one thread at a time, reuse them.
class RunEncoder {
 public:
  RunEncoder();
  ~RunEncoder();
  RunEncoder(RunEncoder&&) noexcept;
  RunEncoder& operator=(RunEncoder&&) noexcept;

  // Appends the tables and words of all runs to `out`. Empty runs cost nothing.
  void Append(absl::Span<const SymbolRun> runs, std::string& out,
              RunLanes most = RunLanes::kUpTo32);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class RunDecoder {
 public:
  RunDecoder();
  ~RunDecoder();
  RunDecoder(RunDecoder&&) noexcept;
  RunDecoder& operator=(RunDecoder&&) noexcept;

  // Decodes runs of `counts` symbols, as they were given to Append, back to back
  // into `symbols`. `reader` ends up behind them. DATA_LOSS, with `symbols` in an
  // undefined state, when the bytes are none that Append writes for such counts.
  // Writes up to kOverrunBytes beyond the last symbol.
  absl::Status Read(ByteReader& reader, absl::Span<const size_t> counts, uint8_t* symbols,
                    RunLanes most = RunLanes::kUpTo32);
  static constexpr size_t kOverrunBytes = 64;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdelta
