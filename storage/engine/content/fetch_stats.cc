#include "storage/engine/content/fetch_stats.h"

#include <chrono>
#include <utility>

namespace wdelta {
namespace {

class CountedSource final : public ContentSource {
 public:
  CountedSource(ContentSourcePtr source, std::shared_ptr<FetchStats> stats)
      : source_(std::move(source)), stats_(std::move(stats)) {}
  ~CountedSource() override {
    const std::chrono::duration<double> lifetime = std::chrono::steady_clock::now() - start_;
    stats_->duration_seconds.Add(lifetime.count());
  }

  const Checkpoint& checkpoint() const override { return source_->checkpoint(); }
  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    stats_->read_bytes.fetch_add(size, std::memory_order_relaxed);
    return source_->Read(stream, offset, size, destination);
  }
  std::optional<Digest> StreamDigest(uint32_t stream) const override {
    return source_->StreamDigest(stream);
  }
  std::shared_ptr<const WdeltaReader> stored() const override { return source_->stored(); }

 private:
  const ContentSourcePtr source_;
  const std::shared_ptr<FetchStats> stats_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

ContentSourcePtr NewCountedSource(ContentSourcePtr source, uint32_t chain_depth,
                                  std::shared_ptr<FetchStats> stats) {
  stats->chain_depth.Add(chain_depth);
  return std::make_shared<const CountedSource>(std::move(source), std::move(stats));
}

}  // namespace wdelta
