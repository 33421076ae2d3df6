#include "tests/bench/lossless_table.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hwy/highway.h"
#include "tests/bench/chunk_loader.h"
#include "tests/bench/code_lengths.h"
#include "tests/bench/fail.h"
#include "tests/bench/folder_source.h"
#include "tests/bench/lossless_schemes.h"
#include "tests/bench/python_peer.h"
#include "tests/bench/table.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {
namespace {

constexpr size_t kTensorXBlockBytes = 2 << 20;
constexpr size_t kWholePlane = SIZE_MAX / 2;

// Rows of one table: sizes in bits.
class LosslessRows {
 public:
  explicit LosslessRows(const CheckpointPair& pair)
      : pair_(pair), table_({"", "bits/weight", "of raw", "encode GB/s", "decode GB/s"}) {}

  void Add(const std::string& name, double bits, const Measured* speed = nullptr) {
    table_.AddRow({name, Fixed(bits / static_cast<double>(pair_.elements), 4),
                   Fixed(bits / 8 / static_cast<double>(pair_.bytes), 4),
                   speed == nullptr ? "" : Fixed(speed->encode_gb_per_s, 2),
                   speed == nullptr ? "" : Fixed(speed->decode_gb_per_s, 2)});
  }
  void AddSpeed(const std::string& name, const Measured& speed) {
    table_.AddRow({name, "", "", Fixed(speed.encode_gb_per_s, 2), Fixed(speed.decode_gb_per_s, 2)});
  }
  void AddEncodeSpeed(const std::string& name, double encode_gb_per_s) {
    table_.AddRow({name, "", "", Fixed(encode_gb_per_s, 2), ""});
  }
  void AddRule() { table_.AddRule(); }
  std::string Text() const { return table_.Text(); }

 private:
  const CheckpointPair& pair_;
  Table table_;
};

// Restricts Highway's choice of instruction sets while it lives.
class InstructionSets {
 public:
  explicit InstructionSets(int64_t targets) { hwy::SetSupportedTargetsForTest(targets); }
  ~InstructionSets() { hwy::SetSupportedTargetsForTest(0); }
  InstructionSets(const InstructionSets&) = delete;
  InstructionSets& operator=(const InstructionSets&) = delete;
};

void AddOurSpeeds(const CheckpointPair& pair, int rounds, LosslessRows& rows) {
  const int64_t best = hwy::SupportedTargets() & -hwy::SupportedTargets();
  if (best < HWY_AVX2 && (hwy::SupportedTargets() & HWY_AVX2) != 0) {
    const InstructionSets restricted(HWY_AVX2 | HWY_BASELINE_SCALAR);
    rows.AddSpeed("  the same with AVX2 only", Measure(ChunkCodecScheme(), pair, rounds));
  }
  const InstructionSets restricted(HWY_BASELINE_SCALAR);
  rows.AddSpeed("  the same without SIMD", Measure(ChunkCodecScheme(), pair, rounds));
}

// Of the file itself: encoding with the search for corrections, decoding without digests.
struct MeasuredFile {
  Measured whole;                        // with the digests of both checkpoints
  double encode_gb_per_s_of_opened = 0;  // whose digests are known
};

MeasuredFile MeasureFile(const CheckpointPair& pair, int rounds, const std::string& path,
                         ThreadPool* pool) {
  double whole_seconds = std::numeric_limits<double>::infinity();
  double encode_seconds = whole_seconds;
  double decode_seconds = whole_seconds;
  for (int round = 0; round < rounds; ++round) {
    const double start = ProcessSeconds();
    const ContentSourcePtr parent = ValueOrDie(OpenFolder(pair.parent_folder));
    const ContentSourcePtr target = ValueOrDie(OpenFolder(pair.target_folder));
    const double opened = ProcessSeconds();
    ValueOrDie(SaveDelta(parent, target, path, pool));
    encode_seconds = std::min(encode_seconds, ProcessSeconds() - opened);
    whole_seconds = std::min(whole_seconds, ProcessSeconds() - start);
    decode_seconds =
        std::min(decode_seconds, ValueOrDie(DecodeCpuSeconds(path, pair.parent_folder)));
  }
  const double gigabytes = static_cast<double>(pair.bytes) / 1e9;
  return {{0, gigabytes / whole_seconds, gigabytes / decode_seconds}, gigabytes / encode_seconds};
}

double AddZstdRow(const std::string& name, const Scheme& scheme, const CheckpointPair& pair,
                  int rounds, LosslessRows& rows) {
  const Measured measured = Measure(scheme, pair, rounds);
  const double bits = 8.0 * static_cast<double>(measured.stored_bytes);
  rows.Add(name, bits, &measured);
  return bits;
}

// Returns a line on why there is no row, or nothing.
std::string AddZipNnRow(const CheckpointPair& pair, const BenchOptions& options,
                        LosslessRows& rows) {
  if (options.python.empty()) return "  ZipNN: skipped, no Python with the package (--python)\n";
  auto figures = RunPythonPeer(options.python, {"zipnn", pair.parent_folder, pair.target_folder,
                                                absl::StrCat(options.rounds)});
  if (!figures.ok()) return absl::StrCat("  ZipNN: skipped: ", figures.status().message(), "\n");
  const double gigabytes = static_cast<double>(pair.bytes) / 1e9;
  Measured measured;
  measured.encode_gb_per_s = gigabytes / (*figures)["encode_seconds"];
  measured.decode_gb_per_s = gigabytes / (*figures)["decode_seconds"];
  rows.Add("ZipNN 0.5.4, delta", 8 * (*figures)["stored_bytes"], &measured);
  return "";
}

}  // namespace

std::string LosslessLegend() {
  return absl::StrFormat(
      "Bit-exact: bits a weight, and GB/s of decoded bytes by CPU time of one thread, memory to\n"
      "memory.\n"
      "  wdelta       size of the real `.wdelta` file, headers, tables and side files included;\n"
      "               speed of the codec with this CPU's best instruction set (%s); effort\n"
      "               max is that of `wdelta repack`. The whole file: encoded with the search\n"
      "               for corrections of low rank and SHA-256 of both checkpoints, decoded with\n"
      "               its corrections and checksums. Digests known: as the store knows them of\n"
      "               what it has and of uploads; SHA-256 is still taken of each tensor and file\n"
      "  BitX-like    XOR with the parent, exponent plane and sign+mantissa planes, zstd -3\n"
      "  TensorX-like XOR with the parent, byte planes, zstd -1 in blocks of 2 MiB\n"
      "  ZipNN        the package itself, delta mode, all tensors as one buffer\n"
      "  FM-Delta     code length by its formula, H(sign, floor(log2 |d|)) + the bits below: no\n"
      "               headers, no coder\n"
      "  H(d | exp)   entropy of the difference d of monotone integers given the parent's\n"
      "               exponent, frequencies known for free (16-bit types only)\n"
      "  adaptive     what an ideal coder with that context takes when it has to learn the\n"
      "               frequencies. Both bound coders with this context only, not others\n\n",
      hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets()));
}

void PrintLosslessTable(const CheckpointPair& pair, const BenchOptions& options) {
  std::printf("%s: %s\n\n", pair.label.c_str(), DescribePair(pair).c_str());
  std::fflush(stdout);
  LosslessRows rows(pair);
  rows.Add("raw", 8.0 * static_cast<double>(pair.bytes));
  const double bitx = AddZstdRow("BitX-like", XorZstdScheme(Planes::kExponentSign, 3, kWholePlane),
                                 pair, options.rounds, rows);
  AddZstdRow("TensorX-like", XorZstdScheme(Planes::kBytes, 1, kTensorXBlockBytes), pair,
             options.rounds, rows);
  const std::string skipped = AddZipNnRow(pair, options, rows);
  const double fm_delta = FmDeltaBits(pair);
  const ConditionalEntropy limit = EntropyGivenParentExponent(pair);
  rows.Add("FM-Delta, formula", fm_delta);
  rows.AddRule();
  ThreadPool pool(1);
  const std::string path = absl::StrCat(options.output_folder, "/lossless.wdelta");
  const auto file_bits = [&](Effort effort) {
    return 8.0 * static_cast<double>(ValueOrDie(
                     SaveDelta(pair.parent_folder, pair.target_folder, path, &pool, effort)));
  };
  const double ours = file_bits(Effort::kFast);
  const MeasuredFile file = MeasureFile(pair, options.rounds, path, &pool);
  const Measured measured = Measure(ChunkCodecScheme(), pair, options.rounds);
  rows.Add("wdelta", ours, &measured);
  rows.AddSpeed("  the whole file", file.whole);
  rows.AddEncodeSpeed("  the same, digests known", file.encode_gb_per_s_of_opened);
  AddOurSpeeds(pair, options.rounds, rows);
  const Measured slow = Measure(ChunkCodecScheme(Effort::kMax), pair, options.rounds);
  rows.Add("wdelta, effort max", file_bits(Effort::kMax), &slow);
  rows.AddRule();
  if (limit.plug_in_bits.has_value()) rows.Add("H(d | exp)", *limit.plug_in_bits);
  rows.Add("H(d | exp), adaptive", limit.adaptive_bits);
  std::printf("%s%s", rows.Text().c_str(), skipped.c_str());
  std::printf("  wdelta is %.3f of BitX-like, %.3f of FM-Delta, %.3f of %s\n\n", ours / bitx,
              ours / fm_delta, ours / limit.plug_in_bits.value_or(limit.adaptive_bits),
              limit.plug_in_bits.has_value() ? "H(d | exp)" : "H(d | exp), adaptive");
  std::fflush(stdout);
}

}  // namespace wdelta::bench
