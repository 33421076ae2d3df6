// Version 1 files as bytes in memory.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/wdelta/v1/v1_reader.h"
#include "storage/wdelta/v1/v1_writer.h"

namespace wdelta {

class V1BytesFile final : public RandomAccessFile {
 public:
  explicit V1BytesFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      return absl::DataLossError("read past the end");
    }
    std::memcpy(destination, bytes_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return bytes_.size(); }

 private:
  const std::string bytes_;
};

inline absl::StatusOr<std::shared_ptr<const V1Reader>> OpenV1Bytes(std::string bytes) {
  return V1Reader::Open(std::make_shared<V1BytesFile>(std::move(bytes)));
}

// `content` with the checksum behind it.
inline std::string SealV1(const std::string& content) {
  return content + Digest::Of(content).ToBytes();
}

class V1VectorDelta final : public V1Delta {
 public:
  explicit V1VectorDelta(std::vector<float> values) : values_(std::move(values)) {}
  uint64_t element_count() const override { return values_.size(); }
  absl::Status Read(uint64_t first, absl::Span<float> values) const override {
    if (!values.empty()) std::memcpy(values.data(), &values_[first], values.size() * sizeof(float));
    return absl::OkStatus();
  }

 private:
  const std::vector<float> values_;
};

}  // namespace wdelta
