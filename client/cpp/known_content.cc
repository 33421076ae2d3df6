#include "client/cpp/known_content.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

constexpr uint64_t kReadBytes = 1 * limits::kMiB;
// Of the probe: at least so many contents, then no more than a share of all bytes.
constexpr size_t kMinProbes = 8;
constexpr size_t kMaxProbes = 32;
constexpr uint64_t kProbedShare = 20;

struct LocalContent {
  size_t file = 0;  // index in the files of the push
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  std::optional<Digest> sha256;
};

std::vector<LocalContent> ContentsOf(FileSystem& file_system,
                                     const std::vector<UploadFile>& files) {
  std::vector<LocalContent> contents;
  for (size_t i = 0; i < files.size(); ++i) {
    const UploadFile& file = files[i];
    if (file.durable_bytes == file.local.size_bytes) continue;
    std::vector<StreamInfo> streams;
    if (IsSafetensorsPath(file.local.path)) {
      const auto source = file_system.OpenForRead(file.local.file_name);
      if (!source.ok()) continue;
      const absl::StatusOr<SafetensorsLayout> layout = ReadSafetensorsLayout(**source);
      if (!layout.ok()) continue;
      AppendStreams(0, file.local.size_bytes, &*layout, streams);
    } else {
      AppendStreams(0, file.local.size_bytes, nullptr, streams);
    }
    for (const StreamInfo& stream : streams) {
      const TensorInfo& tensor = stream.tensor;
      const bool is_asked_for = stream.kind != StreamKind::kHeader &&
                                tensor.size_bytes >= limits::kMinReusedBytes &&
                                tensor.offset_bytes >= file.durable_bytes;
      if (is_asked_for) contents.push_back({i, tensor.offset_bytes, tensor.size_bytes, {}});
    }
  }
  return contents;
}

// Contents at positions of the golden-ratio sequence, which is spread evenly and follows
// no period of the layers.
std::vector<size_t> Probes(const std::vector<LocalContent>& contents) {
  std::vector<uint64_t> ends;
  uint64_t total_bytes = 0;
  for (const LocalContent& content : contents) ends.push_back(total_bytes += content.size_bytes);
  std::vector<size_t> probes;
  uint64_t probed_bytes = 0;
  for (size_t i = 0; i < kMaxProbes && !contents.empty(); ++i) {
    const double position = std::fmod(0.5 + 0.6180339887498949 * static_cast<double>(i), 1.0);
    const uint64_t target = static_cast<uint64_t>(position * static_cast<double>(total_bytes));
    const size_t index = std::upper_bound(ends.begin(), ends.end() - 1, target) - ends.begin();
    if (std::find(probes.begin(), probes.end(), index) != probes.end()) continue;
    if (probes.size() >= kMinProbes && probed_bytes > total_bytes / kProbedShare) break;
    probes.push_back(index);
    probed_bytes += contents[index].size_bytes;
  }
  return probes;
}

// Nullopt: it cannot be read.
std::optional<Digest> HashContent(FileSystem& file_system, const UploadFile& file,
                                  const LocalContent& content,
                                  const std::function<bool()>& is_stopped) {
  const auto source = file_system.OpenForRead(file.local.file_name);
  if (!source.ok()) return std::nullopt;
  Sha256Hasher hasher;
  std::string buffer;
  for (uint64_t done = 0; done < content.size_bytes; done += buffer.size()) {
    if (is_stopped()) return std::nullopt;
    buffer.resize(std::min(kReadBytes, content.size_bytes - done));
    const uint64_t offset = content.offset + done;
    if (!(*source)->Read(offset, buffer.data(), buffer.size()).ok()) return std::nullopt;
    hasher.Update(buffer);
  }
  return hasher.Current();
}

// Hashes those of `wanted` that have no digest yet.
void HashContents(FileSystem& file_system, const std::vector<UploadFile>& files,
                  const std::vector<size_t>& wanted, Interrupt* interrupt,
                  std::vector<LocalContent>& contents) {
  const auto is_stopped = [&] { return interrupt != nullptr && interrupt->IsTriggered(); };
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < wanted.size() && !is_stopped(); i = next++) {
      LocalContent& content = contents[wanted[i]];
      if (content.sha256.has_value()) continue;
      content.sha256 = HashContent(file_system, files[content.file], content, is_stopped);
    }
  };
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(cores, wanted.size()); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}

// Indices, ascending in `wanted`, of contents that the server has.
absl::StatusOr<std::vector<size_t>> Ask(Client& client, const std::string& upload,
                                        const std::vector<LocalContent>& contents,
                                        const std::vector<size_t>& wanted, Interrupt* interrupt) {
  std::vector<size_t> found;
  for (size_t begin = 0; begin < wanted.size();) {
    v1::FindContentRequest request;
    request.set_upload(upload);
    std::vector<size_t> asked;
    for (; begin < wanted.size() && asked.size() < limits::kMaxContentsPerCall; ++begin) {
      const LocalContent& content = contents[wanted[begin]];
      if (!content.sha256.has_value()) continue;
      v1::Content& entry = *request.add_contents();
      entry.set_sha256(content.sha256->ToHex());
      entry.set_size_bytes(content.size_bytes);
      asked.push_back(wanted[begin]);
    }
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + client.options().rpc_timeout));
    const Interrupt::Scope scope(interrupt, &context);
    v1::FindContentResponse response;
    WDELTA_RETURN_IF_ERROR(
        FromGrpcStatus(client.uploads().FindContent(&context, request, &response)));
    for (const uint32_t index : response.found()) {
      if (index < asked.size()) found.push_back(asked[index]);
    }
  }
  return found;
}

}  // namespace

absl::Status FindKnownContent(Client& client, const std::string& upload, Reuse reuse,
                              Interrupt* interrupt, std::vector<UploadFile>& files) {
  if (reuse == Reuse::kNever) return absl::OkStatus();
  const std::unique_ptr<FileSystem> file_system = NewPosixFileSystem();
  std::vector<LocalContent> contents = ContentsOf(*file_system, files);
  std::vector<std::vector<size_t>> rounds;
  if (reuse == Reuse::kAuto) rounds.push_back(Probes(contents));
  std::vector<size_t>& all = rounds.emplace_back();
  for (size_t i = 0; i < contents.size(); ++i) all.push_back(i);
  std::vector<size_t> found;
  for (const std::vector<size_t>& wanted : rounds) {
    HashContents(*file_system, files, wanted, interrupt, contents);
    const absl::StatusOr<std::vector<size_t>> answer =
        Ask(client, upload, contents, wanted, interrupt);
    // A help, not a need: what goes wrong here will, if it matters, go wrong when sending.
    if (interrupt != nullptr && interrupt->IsTriggered()) {
      return absl::CancelledError("interrupted");
    }
    if (!answer.ok() || answer->empty()) return absl::OkStatus();
    found = *answer;
  }
  for (const size_t index : found) {
    const LocalContent& content = contents[index];
    files[content.file].known.push_back({content.offset, content.size_bytes, *content.sha256});
  }
  return absl::OkStatus();
}

}  // namespace wdelta
