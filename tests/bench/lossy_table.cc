#include "tests/bench/lossy_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/fail.h"
#include "tests/bench/lossy_runs.h"
#include "tests/bench/svg_plot.h"
#include "tests/bench/table.h"

namespace wdelta::bench {
namespace {

constexpr double kRelativeErrors[] = {0.5, 0.3, 0.2, 0.14, 0.1, 0.07, 0.05};
constexpr double kBitsPerWeight[] = {1, 2, 3};

class LossySweep {
 public:
  LossySweep(const CheckpointPair& pair, const BenchOptions& options)
      : pair_(pair),
        options_(options),
        runner_(pair, options),
        table_({"", "bits/weight", "rel. error", "R(D)", "max error", "KL, nats", "top-1",
                "|dPPL|"}) {}

  void Run() {
    std::printf("%s, lossy. Quality on %s: %d bytes, the original takes %.3f bits a byte\n\n",
                pair_.label.c_str(), std::filesystem::path(runner_.text_path()).filename().c_str(),
                static_cast<int>(runner_.reference().token_count()),
                runner_.reference().bits_per_byte());
    std::fflush(stdout);
    Add(runner_.RunParent());
    const auto int4 = runner_.RunInt4();
    if (int4.has_value()) {
      Add(int4->first);
      Add(int4->second);
    }
    table_.AddRule();
    AddSweep();
    table_.AddRule();
    AddOtherStrategies();
    if (int4.has_value()) AddAtInt4(int4->first, int4->second);
    std::printf("%s%s\n", table_.Text().c_str(), notes_.c_str());
    WritePlot(int4);
    std::fflush(stdout);
  }

 private:
  double BitsPerWeight(const LossyRun& run) const {
    return 8 * run.file_bytes / static_cast<double>(pair_.elements);
  }

  // Rate of a Gaussian source at this relative error.
  static double GaussianBits(double relative_error) {
    return std::max(0.0, -std::log2(relative_error));
  }

  void Add(const LossyRun& run) {
    table_.AddRow({run.name, Fixed(BitsPerWeight(run), 3), Fixed(run.relative_error, 4),
                   run.relative_error > 0 ? Fixed(GaussianBits(run.relative_error), 2) : "",
                   Scientific(run.max_error), Scientific(run.quality.mean_kl_nats),
                   Fixed(100 * run.quality.top1_agreement, 2) + "%",
                   Scientific(run.quality.perplexity_difference)});
  }

  static TensorPolicy ErrorPolicy(double relative_error) {
    TensorPolicy policy;
    policy.strategy = Strategy::kNearLossless;
    policy.relative_error = relative_error;
    return policy;
  }

  LossyRun AtError(const std::string& name, double error, Effort effort, int rounds) {
    return runner_.RunOurs(name, ErrorPolicy(error), effort, rounds);
  }

  void AddSweep() {
    for (const double error : kRelativeErrors) {
      sweep_.push_back(
          AtError(absl::StrFormat("near-lossless, error %.2f", error), error, Effort::kFast, 1));
      Add(sweep_.back());
    }
    for (const double bits : kBitsPerWeight) {
      TensorPolicy policy;
      policy.strategy = Strategy::kNearLossless;
      policy.bits_per_weight = bits;
      Add(runner_.RunOurs(absl::StrFormat("near-lossless, %.0f bits", bits), policy, Effort::kFast,
                          1));
    }
  }

  void AddOtherStrategies() {
    TensorPolicy policy;
    policy.strategy = Strategy::kOneBit;
    Add(runner_.RunOurs("onebit", policy, Effort::kFast, 1));
    policy.strategy = Strategy::kSparse;
    policy.sparsity = 0.9;
    Add(runner_.RunOurs("sparse, 90% dropped", policy, Effort::kFast, 1));
    Add(runner_.RunOurs("lossless", TensorPolicy(), Effort::kFast, 1));
  }

  // The error at which the sweep has this KL, between its points on a line of logarithms.
  double ErrorOfKl(double kl) const {
    double best = sweep_.back().relative_error *
                  std::sqrt(kl / std::max(sweep_.back().quality.mean_kl_nats, 1e-300));
    for (size_t i = 1; i < sweep_.size(); ++i) {
      const double high = sweep_[i - 1].quality.mean_kl_nats;
      const double low = sweep_[i].quality.mean_kl_nats;
      if (!(low <= kl && kl <= high && low > 0 && low < high)) continue;
      const double share = std::log(kl / low) / std::log(high / low);
      best = sweep_[i].relative_error *
             std::pow(sweep_[i - 1].relative_error / sweep_[i].relative_error, share);
    }
    return std::min(best, 1.0);
  }

  // A run whose KL is at most `kl`, the largest error among three that were tried.
  LossyRun AtKl(const std::string& name, double kl) {
    double error = ErrorOfKl(kl);
    LossyRun run = AtError(name, error, Effort::kFast, 1);
    for (int i = 0; i < 3 && run.quality.mean_kl_nats > kl; ++i) {
      error *= std::min(0.97, std::sqrt(kl / run.quality.mean_kl_nats));
      run = AtError(name, error, Effort::kFast, 1);
    }
    return run;
  }

  void AddAtInt4(const LossyRun& plain, const LossyRun& rounded) {
    table_.AddRule();
    const LossyRun at_error =
        AtError("at int4's error", plain.relative_error, Effort::kFast, options_.rounds);
    Add(at_error);
    const LossyRun max =
        AtError("at int4's error, max effort", plain.relative_error, Effort::kMax, 1);
    Add(max);
    const LossyRun at_rounded =
        AtError("at rounded int4's error", rounded.relative_error, Effort::kFast, 1);
    Add(at_rounded);
    const LossyRun at_kl = AtKl("at int4's KL", plain.quality.mean_kl_nats);
    Add(at_kl);
    const LossyRun at_rounded_kl = AtKl("at rounded int4's KL", rounded.quality.mean_kl_nats);
    Add(at_rounded_kl);
    const auto share = [&](const LossyRun& run) { return run.file_bytes / plain.file_bytes; };
    absl::StrAppendFormat(
        &notes_,
        "  Size beside int4's: %.3f at its error (%.3f with max effort; %.3f rounded), %.3f at its "
        "KL (%.3f rounded)\n",
        share(at_error), share(max), share(at_rounded), share(at_kl), share(at_rounded_kl));
    AddTimes("Whole save", plain.save_seconds, at_error.save_seconds, plain.save_cpu_seconds,
             at_error.save_cpu_seconds);
    AddTimes("Whole load", plain.load_seconds, at_error.load_seconds, plain.load_cpu_seconds,
             at_error.load_cpu_seconds);
    absl::StrAppendFormat(&notes_, "  One thread at int4's error: encode %.2f GB/s, decode %.2f\n",
                          at_error.encode_gb_per_s, at_error.decode_gb_per_s);
  }

  void AddTimes(const std::string& what, double int4, double ours, double int4_cpu,
                double ours_cpu) {
    absl::StrAppendFormat(&notes_,
                          "  %s: int4 %.3f s, ours %.3f s, %.1fx as fast; CPU time of all threads: "
                          "%.3f s, %.3f s, %.1fx\n",
                          what, int4, ours, int4 / ours, int4_cpu, ours_cpu, int4_cpu / ours_cpu);
  }

  using PointOf = double (*)(const LossyRun&);

  PlotPanel Panel(const std::string& title, const std::string& y_label, PointOf y,
                  const std::optional<std::pair<LossyRun, LossyRun>>& int4) const {
    PlotPanel panel{title, "bits a weight, whole file", y_label, true, {}};
    PlotSeries ours{"wdelta near-lossless", "#1f6fb4", {}, true, false};
    for (const LossyRun& run : sweep_) ours.points.emplace_back(BitsPerWeight(run), y(run));
    panel.series.push_back(std::move(ours));
    if (int4.has_value()) {
      panel.series.push_back({"deltatensors int4",
                              "#d1495b",
                              {{BitsPerWeight(int4->first), y(int4->first)}},
                              false,
                              false});
      panel.series.push_back({"int4, rounded to the dtype",
                              "#edae49",
                              {{BitsPerWeight(int4->second), y(int4->second)}},
                              false,
                              false,
                              true});
    }
    return panel;
  }

  void WritePlot(const std::optional<std::pair<LossyRun, LossyRun>>& int4) const {
    PlotPanel kl = Panel(
        "KL divergence of next-byte predictions", "KL(original || reconstructed), nats a token",
        [](const LossyRun& run) { return run.quality.mean_kl_nats; }, int4);
    PlotPanel error = Panel(
        "Error of the weights", "|error| / |delta|",
        [](const LossyRun& run) { return run.relative_error; }, int4);
    PlotSeries bound{"Gaussian R(D)", "#777", {}, true, true};
    for (double e = 0.6; e > 0.04; e *= 0.9) bound.points.emplace_back(GaussianBits(e), e);
    error.series.push_back(std::move(bound));
    std::string name = pair_.label;
    std::replace(name.begin(), name.end(), ' ', '-');
    const std::string path = absl::StrCat(options_.output_folder, "/lossy-", name, ".svg");
    std::ofstream(path) << SvgPlot(absl::StrCat(pair_.label, ": what a lossy delta costs"),
                                   {std::move(kl), std::move(error)});
    std::printf("  Plot: %s\n\n", path.c_str());
  }

  const CheckpointPair& pair_;
  const BenchOptions& options_;
  LossyRunner runner_;
  Table table_;
  std::string notes_;
  std::vector<LossyRun> sweep_;
};

}  // namespace

std::string LossyLegend() {
  return "Lossy: real `.wdelta` files, saved, loaded and compared with the original.\n"
         "  bits/weight  of the whole file\n"
         "  rel. error   |error| / |delta| of all tensors together, of the model as it was "
         "loaded:\n"
         "               ours in the target's dtype, int4 in F32 and rounded to that dtype\n"
         "  R(D)         bits a weight that a Gaussian source takes at this error at the least\n"
         "  KL, nats     mean KL(original || reconstructed) of next-byte predictions, by a "
         "forward\n"
         "               pass of the model itself\n"
         "  top-1        share of bytes with the same likeliest next byte\n"
         "  |dPPL|       difference of perplexities a byte, absolute\n\n";
}

bool HasQuality(const CheckpointPair& pair) {
  if (!std::filesystem::exists(pair.target_folder + "/config.json")) return false;
  return std::all_of(pair.tensors.begin(), pair.tensors.end(),
                     [](const TensorPair& tensor) { return !tensor.parent.empty(); });
}

void PrintLossyTable(const CheckpointPair& pair, const BenchOptions& options) {
  LossySweep(pair, options).Run();
}

}  // namespace wdelta::bench
