#include "storage/wdelta/v1/v1_reader.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/json_text.h"
#include "storage/wdelta/v1/array_access.h"
#include "storage/wdelta/v1/float_values.h"
#include "storage/wdelta/v1/format.h"

namespace wdelta {
namespace {

using v1_format::ArraySpec;
using v1_format::BadField;

constexpr uint64_t kBufferBytes = 256 * limits::kKiB;
constexpr uint64_t kMaxDTypeBytes = 32;
constexpr uint64_t kIndicesAtOnce = kBufferBytes / sizeof(uint64_t);

absl::Status VerifyChecksum(const RandomAccessFile& file, uint64_t content_bytes) {
  Sha256Hasher hasher;
  std::string buffer;
  for (uint64_t offset = 0; offset < content_bytes; offset += buffer.size()) {
    buffer.resize(std::min(kBufferBytes, content_bytes - offset));
    WDELTA_RETURN_IF_ERROR(file.Read(offset, buffer.data(), buffer.size()));
    hasher.Update(buffer);
  }
  std::string stored(v1_format::kChecksumBytes, '\0');
  WDELTA_RETURN_IF_ERROR(file.Read(content_bytes, stored.data(), stored.size()));
  const Digest expected = Digest::FromBytes(stored).value();
  if (hasher.Current() == expected) return absl::OkStatus();
  return BadField("checksum", absl::StrCat("SHA-256 ", expected.ToHex(), " of the file's bytes"),
                  hasher.Current().ToHex());
}

// Walks over the array records and notes their places.
class ArrayScan {
 public:
  ArrayScan(const RandomAccessFile& source, uint64_t offset, uint64_t end, V1File& file)
      : source_(source), offset_(offset), end_(end), file_(file), seen_(file.tensors.size()) {
    for (uint32_t i = 0; i < file.tensors.size(); ++i) by_name_[file.tensors[i].name] = i;
  }

  absl::Status Run() {
    while (offset_ < end_) WDELTA_RETURN_IF_ERROR(TakeRecord());
    for (size_t i = 0; i < file_.tensors.size(); ++i) {
      const V1Tensor& tensor = file_.tensors[i];
      const auto specs = v1_format::ArraysOf(tensor.strategy);
      for (size_t a = 0; a < specs.size(); ++a) {
        if ((seen_[i] >> a & 1) != 0) continue;
        return BadField(
            absl::StrCat("tensor ", Excerpt(tensor.name), ": array `", specs[a].name, "`"),
            "a record", "none");
      }
    }
    return absl::OkStatus();
  }

 private:
  std::string At(absl::string_view field) const {
    return absl::StrCat("array record ", record_, " at offset ", record_offset_, ": ", field);
  }

  absl::StatusOr<std::string> Take(uint64_t size, absl::string_view field) {
    if (size > end_ - offset_) {
      return BadField(At(field), absl::StrCat(size, " bytes"), absl::StrCat(end_ - offset_));
    }
    std::string bytes(size, '\0');
    WDELTA_RETURN_IF_ERROR(source_.Read(offset_, bytes.data(), size));
    offset_ += size;
    return bytes;
  }
  absl::StatusOr<uint64_t> TakeU32(absl::string_view field) {
    WDELTA_ASSIGN_OR_RETURN(const std::string bytes, Take(4, field));
    return ByteReader(bytes).ReadU32(field);
  }
  absl::StatusOr<uint64_t> TakeU64(absl::string_view field) {
    WDELTA_ASSIGN_OR_RETURN(const std::string bytes, Take(8, field));
    return ByteReader(bytes).ReadU64(field);
  }
  absl::StatusOr<std::string> TakeText(uint64_t most, absl::string_view field) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t size, TakeU32(field));
    if (size > most) {
      return BadField(At(field), absl::StrCat("at most ", most, " bytes"), absl::StrCat(size));
    }
    return Take(size, field);
  }

  absl::Status TakeRecord() {
    record_offset_ = offset_;
    WDELTA_ASSIGN_OR_RETURN(const std::string name,
                            TakeText(limits::kMaxTensorNameBytes, "tensor"));
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) {
      return BadField(At("tensor"), "a tensor of the header", Excerpt(name));
    }
    V1Tensor& tensor = file_.tensors[found->second];
    WDELTA_ASSIGN_OR_RETURN(const size_t place, TakeArrayName(tensor));
    uint8_t& seen = seen_[found->second];
    if ((seen >> place & 1) != 0) {
      return BadField(At("array"), "each array once",
                      absl::StrCat("`", v1_format::ArraysOf(tensor.strategy)[place].name,
                                   "` of tensor ", Excerpt(name), " again"));
    }
    if (seen == 0) file_.stored_order.push_back(found->second);
    seen |= static_cast<uint8_t>(1 << place);
    WDELTA_RETURN_IF_ERROR(TakeShape(tensor, place));
    WDELTA_RETURN_IF_ERROR(TakeData(tensor, place));
    ++record_;
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> TakeArrayName(const V1Tensor& tensor) {
    WDELTA_ASSIGN_OR_RETURN(const std::string name, TakeText(kMaxDTypeBytes, "array"));
    const auto specs = v1_format::ArraysOf(tensor.strategy);
    for (size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].name != name) continue;
      WDELTA_ASSIGN_OR_RETURN(const std::string dtype, TakeText(kMaxDTypeBytes, "dtype"));
      if (dtype != specs[i].dtype) return BadField(At("dtype"), specs[i].dtype, Excerpt(dtype));
      return i;
    }
    return BadField(At("array"), absl::StrCat("an array of ", V1StrategyName(tensor.strategy)),
                    Excerpt(name));
  }

  absl::Status TakeShape(V1Tensor& tensor, size_t place) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t dimensions, TakeU32("dimensions"));
    if (dimensions != 1) return BadField(At("dimensions"), "1", absl::StrCat(dimensions));
    WDELTA_ASSIGN_OR_RETURN(const uint64_t length, TakeU64("length"));
    const uint64_t expected = v1_format::ExpectedLength(tensor, place);
    const bool is_sparse = tensor.strategy == V1Strategy::kSparse;
    if (is_sparse ? length > expected : length != expected) {
      return BadField(At("length"), absl::StrCat(is_sparse ? "at most " : "", expected),
                      absl::StrCat(length));
    }
    const uint8_t seen = seen_[by_name_.at(tensor.name)];
    if (is_sparse && seen == 3 && tensor.arrays[1 - place].length != length) {
      return BadField(At("length"),
                      absl::StrCat(tensor.arrays[1 - place].length, ", as the other array has"),
                      absl::StrCat(length));
    }
    tensor.arrays[place].length = length;
    // No overflow: the lengths are bounded by kMaxFileBytes / 4.
    const uint64_t bytes = length * v1_format::ArraysOf(tensor.strategy)[place].element_bytes;
    WDELTA_ASSIGN_OR_RETURN(const uint64_t size, TakeU64("size"));
    if (size != bytes) return BadField(At("size"), absl::StrCat(bytes), absl::StrCat(size));
    if (size > end_ - offset_) {
      return BadField(At("data"), absl::StrCat(size, " bytes"), absl::StrCat(end_ - offset_));
    }
    tensor.arrays[place].offset_bytes = offset_;
    tensor.stored_bytes += size;
    return absl::OkStatus();
  }

  absl::Status TakeData(V1Tensor& tensor, size_t place) {
    const ArraySpec& spec = v1_format::ArraysOf(tensor.strategy)[place];
    const V1Array& array = tensor.arrays[place];
    if (spec.dtype == "int64") WDELTA_RETURN_IF_ERROR(CheckIndices(tensor, array));
    if (tensor.strategy == V1Strategy::kInt4 &&
        (place == v1_format::kScale || place == v1_format::kZeroPoint)) {
      WDELTA_ASSIGN_OR_RETURN(const auto bits,
                              v1_format::ReadElements<uint16_t>(source_, array, 0, 1));
      (place == v1_format::kScale ? tensor.scale : tensor.zero_point) = Float16ToFloat32(bits[0]);
    }
    offset_ += array.length * spec.element_bytes;
    return absl::OkStatus();
  }

  // Negative ones are large as unsigned numbers.
  absl::Status CheckIndices(const V1Tensor& tensor, const V1Array& array) const {
    uint64_t least = 0;
    for (uint64_t first = 0; first < array.length; first += kIndicesAtOnce) {
      const uint64_t count = std::min(kIndicesAtOnce, array.length - first);
      WDELTA_ASSIGN_OR_RETURN(const auto indices,
                              v1_format::ReadElements<uint64_t>(source_, array, first, count));
      for (uint64_t i = 0; i < count; ++i) {
        if (indices[i] < least || indices[i] >= tensor.element_count) {
          return BadField(
              At(absl::StrCat("index ", first + i)),
              absl::StrCat("ascending ones: ", least, " to below ", tensor.element_count),
              absl::StrCat(static_cast<int64_t>(indices[i])));
        }
        least = indices[i] + 1;
      }
    }
    return absl::OkStatus();
  }

  const RandomAccessFile& source_;
  uint64_t offset_;
  const uint64_t end_;
  V1File& file_;
  absl::flat_hash_map<absl::string_view, uint32_t> by_name_;
  std::vector<uint8_t> seen_;  // a bit for each array of a tensor
  uint64_t record_ = 0;
  uint64_t record_offset_ = 0;
};

absl::Status CheckLeast(uint64_t file_bytes, uint64_t least_bytes) {
  if (file_bytes >= least_bytes) return absl::OkStatus();
  return BadField("file", absl::StrCat("at least ", least_bytes, " bytes"),
                  absl::StrCat(file_bytes));
}

absl::StatusOr<uint32_t> ReadVersion(const RandomAccessFile& file, uint64_t file_bytes) {
  WDELTA_RETURN_IF_ERROR(CheckLeast(file_bytes, v1_format::kPreambleBytes));
  std::string preamble(v1_format::kPreambleBytes, '\0');
  WDELTA_RETURN_IF_ERROR(file.Read(0, preamble.data(), preamble.size()));
  ByteReader reader(preamble);
  WDELTA_ASSIGN_OR_RETURN(const auto magic, reader.ReadBytes(v1_format::kMagic.size(), "magic"));
  if (magic != v1_format::kMagic) return BadField("magic", "`wdelta` and a zero", Excerpt(magic));
  return reader.ReadU32("version");
}

}  // namespace

absl::StatusOr<bool> IsV1File(const RandomAccessFile& file) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.SizeBytes());
  const absl::StatusOr<uint32_t> version = ReadVersion(file, file_bytes);
  if (ErrorReason(version.status()) == "BAD_WDELTA") return false;
  WDELTA_RETURN_IF_ERROR(version.status());
  return *version == kV1Version;
}

absl::StatusOr<std::shared_ptr<const V1Reader>> V1Reader::Open(
    std::shared_ptr<const RandomAccessFile> file) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t file_bytes, file->SizeBytes());
  WDELTA_RETURN_IF_ERROR(
      CheckLeast(file_bytes, v1_format::kPreambleBytes + v1_format::kChecksumBytes));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t version, ReadVersion(*file, file_bytes));
  if (version != kV1Version) {
    return BadField("version", absl::StrCat(kV1Version), absl::StrCat(version));
  }
  const uint64_t content_bytes = file_bytes - v1_format::kChecksumBytes;
  WDELTA_RETURN_IF_ERROR(VerifyChecksum(*file, content_bytes));
  std::string size_field(4, '\0');
  WDELTA_RETURN_IF_ERROR(
      file->Read(v1_format::kPreambleBytes - 4, size_field.data(), size_field.size()));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t header_bytes, ByteReader(size_field).ReadU32("size"));
  const uint64_t most =
      std::min(limits::kMaxSafetensorsHeaderBytes, content_bytes - v1_format::kPreambleBytes);
  if (header_bytes > most) {
    return BadField("header size", absl::StrCat("at most ", most), absl::StrCat(header_bytes));
  }
  std::string header(header_bytes, '\0');
  if (header_bytes > 0) {
    WDELTA_RETURN_IF_ERROR(file->Read(v1_format::kPreambleBytes, header.data(), header_bytes));
  }
  WDELTA_ASSIGN_OR_RETURN(V1File parsed, v1_format::ParseHeader(header));
  parsed.file_bytes = file_bytes;
  WDELTA_RETURN_IF_ERROR(
      ArrayScan(*file, v1_format::kPreambleBytes + header_bytes, content_bytes, parsed).Run());
  return std::shared_ptr<const V1Reader>(new V1Reader(std::move(file), std::move(parsed)));
}

}  // namespace wdelta
