#include "storage/wdelta/dump.h"

#include <algorithm>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace wdelta {
namespace {

struct Sums {
  uint64_t raw_bytes = 0;
  uint64_t stored_bytes = 0;  // of payloads
  std::map<ChunkMode, uint64_t> chunks_by_mode;

  void Add(const Sums& other) {
    raw_bytes += other.raw_bytes;
    stored_bytes += other.stored_bytes;
    for (const auto& [mode, count] : other.chunks_by_mode) chunks_by_mode[mode] += count;
  }
  // Raw over stored; 0 when nothing is stored.
  double Ratio() const {
    return stored_bytes == 0 ? 0
                             : static_cast<double>(raw_bytes) / static_cast<double>(stored_bytes);
  }
};

Sums SumStream(const WdeltaFile& file, const WdeltaStream& stream) {
  Sums sums;
  sums.raw_bytes = stream.info.tensor.size_bytes;
  sums.stored_bytes = PayloadBytesOf(file, stream);
  for (uint64_t i = 0; i < stream.chunk_count; ++i) {
    ++sums.chunks_by_mode[file.chunks[stream.first_chunk + i].mode];
  }
  return sums;
}

absl::string_view KindName(StreamKind kind) {
  switch (kind) {
    case StreamKind::kTensor:
      return "tensor";
    case StreamKind::kHeader:
      return "header";
    case StreamKind::kSideFile:
      return "side-file";
  }
  return "unknown";
}

std::string RatioText(const Sums& sums) {
  return sums.stored_bytes == 0 ? "-" : absl::StrFormat("%.3f", sums.Ratio());
}

std::string ModesText(const Sums& sums) {
  std::vector<std::string> parts;
  for (const auto& [mode, count] : sums.chunks_by_mode) {
    parts.push_back(absl::StrCat(ChunkModeName(mode), ":", count));
  }
  return parts.empty() ? "-" : absl::StrJoin(parts, " ");
}

// Lines of cells, padded to the widest of each column.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) { Add(std::move(titles)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  std::string ToText() const {
    std::vector<size_t> widths(rows_.front().size(), 0);
    for (const std::vector<std::string>& row : rows_) {
      for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
    }
    std::string out;
    for (const std::vector<std::string>& row : rows_) {
      for (size_t c = 0; c + 1 < row.size(); ++c) {
        absl::StrAppend(&out, row[c], std::string(widths[c] - row[c].size() + 2, ' '));
      }
      absl::StrAppend(&out, row.back(), "\n");
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

// What a stream is called: a tensor's name, or the path of its file.
std::string StreamName(const WdeltaFile& file, const StreamInfo& info) {
  if (info.kind == StreamKind::kTensor) return info.tensor.name;
  return file.files[info.file_index].path;
}

nlohmann::json SumsJson(const Sums& sums) {
  nlohmann::json modes = nlohmann::json::object();
  for (const auto& [mode, count] : sums.chunks_by_mode) {
    modes[std::string(ChunkModeName(mode))] = count;
  }
  return {{"raw_bytes", sums.raw_bytes},
          {"stored_bytes", sums.stored_bytes},
          {"ratio", sums.stored_bytes == 0 ? nlohmann::json() : nlohmann::json(sums.Ratio())},
          {"chunks_by_mode", modes}};
}

// By stream index; null for streams that were never to be coded with loss.
std::vector<const WdeltaStreamFidelity*> FidelityByStream(const WdeltaFile& file) {
  std::vector<const WdeltaStreamFidelity*> by_stream(file.streams.size(), nullptr);
  if (!file.fidelity.has_value()) return by_stream;
  for (const WdeltaStreamFidelity& record : file.fidelity->streams) {
    by_stream[record.stream] = &record;
  }
  return by_stream;
}

std::string FidelityText(const WdeltaStreamFidelity* fidelity) {
  if (fidelity == nullptr || fidelity->strategy == Strategy::kLossless) return "lossless";
  return absl::StrFormat("%s:%.3g", StrategyName(fidelity->strategy), fidelity->RelativeError());
}

nlohmann::json FidelityJson(const WdeltaStreamFidelity& fidelity) {
  return {{"strategy", std::string(StrategyName(fidelity.strategy))},
          {"relative_error", fidelity.RelativeError()},
          {"max_absolute_error", fidelity.max_absolute_error}};
}

std::string ParentText(const WdeltaStream& stream) {
  std::string text = stream.parent_stream.has_value() ? "yes" : "no";
  if (stream.parent_dtype.has_value()) text = std::string(DTypeName(*stream.parent_dtype));
  if (stream.correction.has_value()) {
    absl::StrAppend(&text, "+rank-", stream.correction->form.rank);
  }
  return text;
}

nlohmann::json StreamJson(const WdeltaFile& file, const WdeltaStream& stream, const Sums& sums) {
  nlohmann::json out = SumsJson(sums);
  out["kind"] = std::string(KindName(stream.info.kind));
  out["file"] = file.files[stream.info.file_index].path;
  out["name"] = stream.info.tensor.name;
  out["dtype"] = std::string(DTypeName(stream.info.tensor.dtype));
  out["shape"] = stream.info.tensor.shape;
  out["offset_bytes"] = stream.info.tensor.offset_bytes;
  out["parent_stream"] =
      stream.parent_stream.has_value() ? nlohmann::json(*stream.parent_stream) : nlohmann::json();
  if (stream.parent_dtype.has_value()) {
    out["parent_dtype"] = std::string(DTypeName(*stream.parent_dtype));
  }
  if (stream.correction.has_value()) {
    const CorrectionForm& form = stream.correction->form;
    out["correction"] = {{"rank", form.rank},
                         {"factor_dtype", std::string(DTypeName(form.factor_dtype))},
                         {"factor_bytes", FactorBytes(stream.info.tensor, form).value_or(0)}};
  }
  out["sha256"] = stream.sha256.ToHex();
  return out;
}

nlohmann::json FileJson(const WdeltaFile& file) {
  nlohmann::json files = nlohmann::json::array();
  for (const CheckpointFile& entry : file.files) {
    files.push_back({{"path", entry.path},
                     {"size_bytes", entry.size_bytes},
                     {"sha256", entry.sha256.ToHex()},
                     {"is_safetensors", entry.is_safetensors}});
  }
  nlohmann::json streams = nlohmann::json::array();
  Sums total;
  const std::vector<const WdeltaStreamFidelity*> fidelity = FidelityByStream(file);
  for (size_t i = 0; i < file.streams.size(); ++i) {
    const Sums sums = SumStream(file, file.streams[i]);
    total.Add(sums);
    streams.push_back(StreamJson(file, file.streams[i], sums));
    if (fidelity[i] != nullptr) streams.back()["fidelity"] = FidelityJson(*fidelity[i]);
  }
  nlohmann::json totals = SumsJson(total);
  totals["overhead_bytes"] = file.file_bytes - total.stored_bytes;
  return {
      {"version", kWdeltaVersion},
      {"model_digest", file.model_digest.ToHex()},
      {"parent_digest", file.parent_digest.has_value() ? nlohmann::json(file.parent_digest->ToHex())
                                                       : nlohmann::json()},
      {"uploaded_digest", file.fidelity.has_value()
                              ? nlohmann::json(file.fidelity->uploaded_digest.ToHex())
                              : nlohmann::json()},
      {"chunk_bytes", file.chunk_bytes},
      {"file_bytes", file.file_bytes},
      {"files", files},
      {"streams", streams},
      {"totals", totals}};
}

}  // namespace

absl::StatusOr<std::string> DumpText(const WdeltaReader& reader) {
  const WdeltaFile& file = reader.file();
  Table files({"SIZE", "SHA256", "PATH"});
  for (const CheckpointFile& entry : file.files) {
    files.Add({absl::StrCat(entry.size_bytes), entry.sha256.ToHex().substr(0, 12), entry.path});
  }
  Table streams({"#", "KIND", "DTYPE", "SHAPE", "PARENT", "RAW", "STORED", "RATIO", "FIDELITY",
                 "NAME", "CHUNKS"});
  const std::vector<const WdeltaStreamFidelity*> fidelity = FidelityByStream(file);
  Sums total;
  for (size_t i = 0; i < file.streams.size(); ++i) {
    const WdeltaStream& stream = file.streams[i];
    const Sums sums = SumStream(file, stream);
    total.Add(sums);
    streams.Add({absl::StrCat(i), std::string(KindName(stream.info.kind)),
                 std::string(DTypeName(stream.info.tensor.dtype)),
                 absl::StrCat("[", absl::StrJoin(stream.info.tensor.shape, ","), "]"),
                 ParentText(stream), absl::StrCat(sums.raw_bytes), absl::StrCat(sums.stored_bytes),
                 RatioText(sums), FidelityText(fidelity[i]),
                 absl::Utf8SafeCEscape(StreamName(file, stream.info)), ModesText(sums)});
  }
  return absl::StrCat(
      "wdelta version ", kWdeltaVersion, "\nmodel        ", file.model_digest.ToHex(),
      "\nparent       ", file.parent_digest.has_value() ? file.parent_digest->ToHex() : "none",
      "\nuploaded     ",
      file.fidelity.has_value() ? file.fidelity->uploaded_digest.ToHex() : "the same",
      "\nchunk_bytes  ", file.chunk_bytes, "\nfile_bytes   ", file.file_bytes, "\n\n",
      files.ToText(), "\n", streams.ToText(), "\ntotal: ", file.files.size(), " files, ",
      file.streams.size(), " streams, ", file.chunks.size(), " chunks (", ModesText(total),
      "), raw ", total.raw_bytes, " bytes, payloads ", total.stored_bytes, " bytes (ratio ",
      RatioText(total), "), overhead ", file.file_bytes - total.stored_bytes, " bytes\n");
}

absl::StatusOr<std::string> DumpJson(const WdeltaReader& reader) {
  try {
    return FileJson(reader.file()).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
           "\n";
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("JSON: ", error.what()));
  }
}

}  // namespace wdelta
