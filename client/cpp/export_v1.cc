#include "client/cpp/export_v1.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/fetch_tensors.h"
#include "client/cpp/local_files.h"
#include "client/cpp/part_file.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/dtype.h"
#include "storage/wdelta/v1/float_values.h"

namespace wdelta {
namespace {

using TensorsByName = std::map<std::string, v1::Tensor>;

absl::Status Unsupported(const std::string& name, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "V1_UNSUPPORTED",
                   absl::StrCat("tensor '", name, "': ", what), {{"tensor", name}});
}

absl::Status CheckDType(const v1::Tensor& tensor) {
  const absl::StatusOr<DType> dtype = ParseDType(tensor.dtype());
  if (dtype.ok() && HasFloat32Values(*dtype)) return absl::OkStatus();
  return Unsupported(tensor.name(), absl::StrCat("expected a dtype that deltatensors reads (floats "
                                                 "of 16 bits and more, integers, BOOL), found ",
                                                 tensor.dtype()));
}

// The tensors that the package would see in a folder of the model's files.
absl::StatusOr<TensorsByName> ListV1Tensors(Client& client, const std::string& model) {
  TensorsByName tensors;
  Pager<v1::Tensor> pager = client.ListTensors(model);
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<v1::Tensor> tensor, pager.Next());
    if (!tensor.has_value()) return tensors;
    if (tensor->file().find('/') != std::string::npos) continue;
    const std::string name = tensor->name();
    tensors[name] = *std::move(tensor);
  }
}

absl::Status CheckSameTensors(const TensorsByName& model, const TensorsByName& parent) {
  for (const auto& [name, tensor] : parent) {
    if (!model.contains(name)) return Unsupported(name, "is in the parent only");
  }
  for (const auto& [name, tensor] : model) {
    const auto found = parent.find(name);
    if (found == parent.end()) return Unsupported(name, "is not in the parent");
    const v1::Tensor& other = found->second;
    if (!std::equal(tensor.shape().begin(), tensor.shape().end(), other.shape().begin(),
                    other.shape().end())) {
      return Unsupported(
          name, absl::StrCat("expected the parent's shape [", absl::StrJoin(other.shape(), ","),
                             "], found [", absl::StrJoin(tensor.shape(), ","), "]"));
    }
    WDELTA_RETURN_IF_ERROR(CheckDType(tensor));
    WDELTA_RETURN_IF_ERROR(CheckDType(other));
  }
  return absl::OkStatus();
}

// Bytes of elements, as they arrive, to float32.
class Widener {
 public:
  explicit Widener(DType dtype)
      : dtype_(dtype), element_bytes_(static_cast<size_t>(BitsPerElement(dtype) / 8)) {}

  // `take` is given whole elements, in order.
  absl::Status Feed(absl::string_view bytes,
                    absl::FunctionRef<absl::Status(absl::Span<float>)> take) {
    absl::StrAppend(&pending_, bytes);
    const size_t count = pending_.size() / element_bytes_;
    values_.resize(count);
    WDELTA_RETURN_IF_ERROR(
        WidenToFloat32(dtype_, absl::string_view(pending_).substr(0, count * element_bytes_),
                       absl::MakeSpan(values_)));
    pending_.erase(0, count * element_bytes_);
    return take(absl::MakeSpan(values_));
  }

 private:
  const DType dtype_;
  const size_t element_bytes_;
  std::string pending_;
  std::vector<float> values_;
};

absl::string_view BytesOf(absl::Span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// A delta in a scratch file.
class FileDelta final : public V1Delta {
 public:
  FileDelta(std::unique_ptr<RandomAccessFile> file, uint64_t element_count)
      : file_(std::move(file)), element_count_(element_count) {}
  uint64_t element_count() const override { return element_count_; }
  absl::Status Read(uint64_t first, absl::Span<float> values) const override {
    return file_->Read(first * sizeof(float), reinterpret_cast<char*>(values.data()),
                       values.size() * sizeof(float));
  }

 private:
  const std::unique_ptr<RandomAccessFile> file_;
  const uint64_t element_count_;
};

class ScratchFolder {
 public:
  ScratchFolder(FileSystem* files, const std::string& file_name) : files_(files) {
    const std::filesystem::path path(file_name);
    path_ = (path.parent_path() / absl::StrCat(".", path.filename().string(), ".wdelta-scratch"))
                .string();
  }
  // What cannot be removed is left.
  ~ScratchFolder() { files_->RemoveAll(path_).IgnoreError(); }
  absl::Status Create() { return LocalFileError(files_->CreateDirectories(path_)); }
  std::string PathOf(absl::string_view name) const { return absl::StrCat(path_, "/", name); }

 private:
  FileSystem* const files_;
  std::string path_;
};

class Exporter {
 public:
  Exporter(Client& client, std::string model, std::string parent, const ProgressCallback& progress,
           const std::string& file_name)
      : client_(client),
        model_(std::move(model)),
        parent_(std::move(parent)),
        report_(progress),
        files_(NewPosixFileSystem()),
        scratch_(files_.get(), file_name) {
    progress_.path = file_name;
  }

  absl::Status Run(const V1WriterOptions& options, PartFile& part, ExportV1Result& result) {
    WDELTA_ASSIGN_OR_RETURN(const TensorsByName tensors, ListV1Tensors(client_, model_));
    WDELTA_ASSIGN_OR_RETURN(const TensorsByName parents, ListV1Tensors(client_, parent_));
    WDELTA_RETURN_IF_ERROR(CheckSameTensors(tensors, parents));
    std::vector<V1Place> places;
    for (const auto& [name, tensor] : parents) {
      places.push_back({name, tensor.file()});
      progress_.total_bytes += tensor.size_bytes() + tensors.at(name).size_bytes();
    }
    WDELTA_RETURN_IF_ERROR(scratch_.Create());
    WDELTA_ASSIGN_OR_RETURN(V1Writer writer,
                            V1Writer::Create(options, files_.get(), scratch_.PathOf("arrays")));
    for (const uint32_t i : V1HashOrder(places)) {
      const v1::Tensor& parent = parents.at(places[i].name);
      WDELTA_RETURN_IF_ERROR(SaveModelValues(tensors.at(parent.name())));
      WDELTA_RETURN_IF_ERROR(SaveDelta(parent));
      WDELTA_ASSIGN_OR_RETURN(auto file, files_->OpenForRead(scratch_.PathOf("delta")));
      const std::vector<uint64_t> shape(parent.shape().begin(), parent.shape().end());
      WDELTA_RETURN_IF_ERROR(
          writer.AddTensor(parent.name(), shape, FileDelta(std::move(file), element_count_)));
    }
    result.parent_hash = hasher_.Current();
    WDELTA_ASSIGN_OR_RETURN(result.written,
                            writer.Finish(result.parent_hash, [&part](absl::string_view bytes) {
                              return part.Append(bytes);
                            }));
    return absl::OkStatus();
  }

 private:
  // Calls `take` with the values of one tensor and, before that, `see` with the bytes.
  absl::Status Fetch(const std::string& model, const v1::Tensor& tensor,
                     absl::FunctionRef<void(absl::string_view)> see,
                     absl::FunctionRef<absl::Status(absl::Span<float>)> take) {
    WDELTA_ASSIGN_OR_RETURN(const DType dtype, ParseDType(tensor.dtype()));
    Widener widener(dtype);
    // The name is a pattern to the server and may match others.
    bool is_it = false;
    bool was_there = false;
    TensorSink sink;
    sink.on_tensor = [&](const v1::TensorHeader& header) {
      is_it = header.name() == tensor.name() && header.file() == tensor.file();
      was_there = was_there || is_it;
      return absl::OkStatus();
    };
    sink.on_bytes = [&](absl::string_view bytes) {
      if (!is_it) return absl::OkStatus();
      see(bytes);
      progress_.done_bytes += bytes.size();
      if (report_) report_(progress_);
      return widener.Feed(bytes, take);
    };
    WDELTA_RETURN_IF_ERROR(FetchTensors(client_, model, {tensor.name()}, sink));
    if (was_there) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("tensor '", tensor.name(), "' was listed, not sent"));
  }

  absl::Status SaveModelValues(const v1::Tensor& tensor) {
    WDELTA_ASSIGN_OR_RETURN(const auto file, files_->OpenForAppend(scratch_.PathOf("values"), 0));
    return Fetch(
        model_, tensor, [](absl::string_view) {},
        [&](absl::Span<float> values) { return file->Append(BytesOf(values)); });
  }

  // f32(model) - f32(parent), over what SaveModelValues left.
  absl::Status SaveDelta(const v1::Tensor& parent) {
    WDELTA_ASSIGN_OR_RETURN(const auto values, files_->OpenForRead(scratch_.PathOf("values")));
    WDELTA_ASSIGN_OR_RETURN(const auto delta, files_->OpenForAppend(scratch_.PathOf("delta"), 0));
    hasher_.Update(parent.name());
    element_count_ = 0;
    std::vector<float> minuend;
    return Fetch(
        parent_, parent, [&](absl::string_view bytes) { hasher_.Update(bytes); },
        [&](absl::Span<float> subtrahend) -> absl::Status {
          minuend.resize(subtrahend.size());
          if (minuend.empty()) return absl::OkStatus();
          WDELTA_RETURN_IF_ERROR(values->Read(element_count_ * sizeof(float),
                                              reinterpret_cast<char*>(minuend.data()),
                                              minuend.size() * sizeof(float)));
          for (size_t i = 0; i < minuend.size(); ++i) minuend[i] -= subtrahend[i];
          element_count_ += minuend.size();
          return delta->Append(BytesOf(minuend));
        });
  }

  Client& client_;
  const std::string model_;
  const std::string parent_;
  const ProgressCallback& report_;
  Progress progress_;
  const std::unique_ptr<FileSystem> files_;
  ScratchFolder scratch_;
  Sha256Hasher hasher_;         // of the parent, in hash order
  uint64_t element_count_ = 0;  // of the current delta
};

absl::StatusOr<std::string> ParentOf(const v1::Model& model, const ExportV1Options& options) {
  if (!options.parent.empty()) return options.parent;
  if (model.parents_size() == 1) return model.parents(0).model();
  return MakeError(absl::StatusCode::kFailedPrecondition, "NO_PARENT",
                   absl::StrCat("model '", model.name(), "': expected one parent, found ",
                                model.parents_size(), ": name the model to compute against"));
}

}  // namespace

absl::StatusOr<ExportV1Result> ExportV1(Client& client, const std::string& model,
                                        const std::string& file_name,
                                        const ExportV1Options& options) {
  ExportV1Result result;
  WDELTA_ASSIGN_OR_RETURN(result.model, client.GetModelToFetch(model));
  WDELTA_ASSIGN_OR_RETURN(const std::string parent, ParentOf(result.model, options));
  WDELTA_ASSIGN_OR_RETURN(result.parent, client.GetModelToFetch(parent));
  WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Create(file_name));
  // By id: names may move meanwhile.
  Exporter exporter(client, absl::StrCat("id:", result.model.id()),
                    absl::StrCat("id:", result.parent.id()), options.progress, file_name);
  WDELTA_RETURN_IF_ERROR(exporter.Run(options.writer, part, result));
  WDELTA_RETURN_IF_ERROR(part.Commit());
  return result;
}

}  // namespace wdelta
