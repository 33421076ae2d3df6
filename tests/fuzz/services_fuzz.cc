// Sequences of calls of the gRPC services against an engine in memory: the input chooses
// the calls and their fields, from what earlier calls returned or from its own bytes.
// Whatever comes, every error is one of ours, and the model `good` stays as it is.
//
// A server takes longer to start than a sequence to run, and so serves many: each removes what
// it made. What fails because of earlier ones does so again with the same corpus and seed.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fuzzer/FuzzedDataProvider.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

constexpr int kMaxCalls = 24;
constexpr int kSequencesPerServer = 500;

TestFiles GoodFiles() {
  return {{"model.safetensors", BuildSafetensors({RandomWeights("w", {8, 16}, 1)})},
          {"config.json", "{}\n"}};
}

class Sequence {
 public:
  // The server has the model `good`. `number`: of the sequence, for request ids of its own.
  Sequence(TestServer& server, int number, const uint8_t* data, size_t size)
      : input_(data, size),
        server_(server),
        names_({"good", "new", "ns/new", "good@prod", "id:0000000000000000000000000a"}),
        request_ids_({absl::StrCat("r1-", number), absl::StrCat("r2-", number)}) {}

  void Run() {
    for (int i = 0; i < kMaxCalls && input_.remaining_bytes() > 0; ++i) CallOne();
    for (const auto& [path, bytes] : GoodFiles()) {
      if (server_.FetchFile(good_id_, path).data != bytes) std::abort();
    }
    RemoveAll();
  }

 private:
  void RemoveAll() {
    v1::ListUploadsResponse open =
        Call(*server_.uploads, &v1::Uploads::Stub::ListUploads, v1::ListUploadsRequest());
    for (const v1::Upload& upload : open.uploads()) {
      v1::CancelUploadRequest request;
      request.set_upload(upload.id());
      Call(*server_.uploads, &v1::Uploads::Stub::CancelUpload, request);
    }
    v1::ListModelsResponse made =
        Call(*server_.models, &v1::Models::Stub::ListModels, v1::ListModelsRequest());
    for (const v1::Model& model : made.models()) {
      if (model.name() == "good") continue;
      v1::DeleteModelRequest request;
      request.set_model(absl::StrCat("id:", model.id()));
      Call(*server_.models, &v1::Models::Stub::DeleteModel, request);
    }
    RunJobs();
  }

  // One of what was seen, or the input's own.
  std::string Pick(const std::vector<std::string>& known) {
    if (!known.empty() && input_.ConsumeProbability<float>() < 0.8F) {
      return known[input_.ConsumeIntegralInRange<size_t>(0, known.size() - 1)];
    }
    return Text();
  }

  // Fields of protobuf are UTF-8.
  std::string Text() {
    std::string text = input_.ConsumeRandomLengthString(64);
    for (char& c : text) c = static_cast<char>(c & 0x7F);
    return text;
  }

  int Enum() { return input_.ConsumeIntegralInRange<int>(-1, 8); }

  void Check(const grpc::Status& status) {
    if (status.ok()) return;
    const std::string text = CodeAndReason(status);
    // Without a reason it is none of ours.
    const bool is_ours = absl::StrContains(text, " ");
    const bool is_bug = status.error_code() == grpc::StatusCode::INTERNAL ||
                        status.error_code() == grpc::StatusCode::UNKNOWN;
    if (!is_ours || is_bug) {
      std::fprintf(stderr, "%s: %s\n", text.c_str(), status.error_message().c_str());
      std::abort();
    }
  }

  template <typename Response, typename Stub, typename Request>
  Response Call(Stub& stub,
                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const Request& request) {
    grpc::ClientContext context;
    Response response;
    Check((stub.*method)(&context, request, &response));
    return response;
  }

  template <typename Request>
  Request Page() {
    Request request;
    request.set_page_size(input_.ConsumeIntegral<uint32_t>());
    request.set_page_token(Pick(tokens_));
    return request;
  }

  void CallOne() {
    switch (input_.ConsumeIntegralInRange<int>(0, 15)) {
      case 0:
        return StartUpload();
      case 1:
        return AddEntries();
      case 2:
        return WriteEntries();
      case 3:
        return FinishUpload();
      case 4: {
        v1::CancelUploadRequest request;
        request.set_upload(Pick(uploads_));
        Call(*server_.uploads, &v1::Uploads::Stub::CancelUpload, request);
        return;
      }
      case 5:
        return FetchFile();
      case 6: {
        auto request = Page<v1::ListModelsRequest>();
        if (input_.ConsumeBool()) request.add_states(static_cast<v1::Model::State>(Enum()));
        if (input_.ConsumeBool()) request.set_name_pattern(Text());
        tokens_.push_back(
            Call(*server_.models, &v1::Models::Stub::ListModels, request).next_page_token());
        return;
      }
      case 7: {
        auto request = Page<v1::ListTensorsRequest>();
        request.set_model(Pick(names_));
        tokens_.push_back(
            Call(*server_.models, &v1::Models::Stub::ListTensors, request).next_page_token());
        return;
      }
      case 8: {
        auto request = Page<v1::TraverseRequest>();
        request.set_model(Pick(names_));
        request.set_direction(static_cast<v1::TraverseRequest::Direction>(Enum()));
        request.set_max_depth(input_.ConsumeIntegral<uint32_t>());
        tokens_.push_back(
            Call(*server_.lineage, &v1::Lineage::Stub::Traverse, request).next_page_token());
        return;
      }
      case 9:
        return Tag();
      case 10:
        return Update();
      case 11: {
        v1::DeleteModelRequest request;
        request.set_model(Pick(names_));
        // Only what this sequence made.
        if (request.model() == "new" || request.model() == "ns/new") {
          Call(*server_.models, &v1::Models::Stub::DeleteModel, request);
        }
        return;
      }
      case 12: {
        v1::CancelJobRequest request;
        request.set_job(Pick(jobs_));
        Call(*server_.jobs, &v1::Jobs::Stub::CancelJob, request);
        return;
      }
      case 13:
        tokens_.push_back(
            Call(*server_.jobs, &v1::Jobs::Stub::ListJobs, Page<v1::ListJobsRequest>())
                .next_page_token());
        return;
      case 14: {
        v1::RepackModelRequest request;
        request.set_model(Pick(names_));
        request.set_effort(static_cast<v1::FidelityPolicy::Effort>(Enum()));
        jobs_.push_back(Call(*server_.models, &v1::Models::Stub::RepackModel, request).job());
        return;
      }
      default:
        return RunJobs();
    }
  }

  void StartUpload() {
    v1::StartUploadRequest request;
    request.set_name(input_.ConsumeBool() ? "new" : Pick({"ns/new"}));
    if (request.name() == "good") return;
    request.set_request_id(input_.ConsumeBool() ? "" : Pick(request_ids_));
    request.set_new_version(input_.ConsumeBool());
    request.set_kind(static_cast<v1::UploadKind>(Enum()));
    while (input_.ConsumeBool()) {
      v1::Parent& parent = *request.add_parents();
      parent.set_model(Pick(names_));
      parent.set_relation(static_cast<v1::Parent::Relation>(Enum()));
    }
    if (input_.ConsumeBool()) (*request.mutable_labels())[Text()] = Text();
    if (input_.ConsumeBool()) {
      request.mutable_fidelity()->mutable_near_lossless()->set_relative_error(
          input_.ConsumeFloatingPoint<double>());
    }
    const v1::Upload upload = Call(*server_.uploads, &v1::Uploads::Stub::StartUpload, request);
    if (!upload.id().empty()) uploads_.push_back(upload.id());
  }

  void AddEntries() {
    v1::AddEntriesRequest request;
    request.set_upload(Pick(uploads_));
    do {
      v1::Entry& entry = *request.add_entries();
      entry.set_path(Pick(paths_));
      entry.set_size_bytes(input_.ConsumeBool() ? FileBytes().size()
                                                : input_.ConsumeIntegral<uint64_t>());
    } while (input_.ConsumeBool());
    Call(*server_.uploads, &v1::Uploads::Stub::AddEntries, request);
  }

  // Of the upload of `good` under another name, or the input's own.
  std::string FileBytes() {
    if (file_bytes_.empty()) {
      file_bytes_ = input_.ConsumeBool() ? GoodFiles().at("model.safetensors")
                                         : input_.ConsumeRandomLengthString(256);
    }
    return file_bytes_;
  }

  void WriteEntries() {
    v1::WriteEntriesRequest piece;
    piece.set_upload(Pick(uploads_));
    piece.set_path(Pick(paths_));
    piece.set_offset(input_.ConsumeBool() ? 0 : input_.ConsumeIntegral<uint64_t>());
    piece.set_data(FileBytes());
    piece.set_crc32c(input_.ConsumeBool() ? Crc32c(piece.data())
                                          : input_.ConsumeIntegral<uint32_t>());
    if (input_.ConsumeBool()) {
      piece.mutable_copy()->set_sha256(Text());
      piece.mutable_copy()->set_size_bytes(input_.ConsumeIntegral<uint64_t>());
    }
    Check(server_.Write({piece}));
  }

  void FinishUpload() {
    v1::FinishUploadRequest request;
    request.set_upload(Pick(uploads_));
    if (input_.ConsumeBool()) (*request.mutable_sha256_by_path())[Pick(paths_)] = Text();
    const auto finished = Call(*server_.uploads, &v1::Uploads::Stub::FinishUpload, request);
    if (finished.job().empty()) return;
    jobs_.push_back(finished.job());
    names_.push_back(absl::StrCat("id:", finished.model().id()));
  }

  void FetchFile() {
    v1::FetchFileRequest request;
    request.set_model(Pick(names_));
    request.set_path(Pick(paths_));
    request.set_offset(input_.ConsumeIntegralInRange<uint64_t>(0, 2000));
    request.set_length(input_.ConsumeIntegral<uint64_t>());
    Check(server_.FetchFile(request).status);
  }

  void Tag() {
    v1::SetTagRequest request;
    request.set_name(Pick(names_));
    request.set_tag(Pick({"prod"}));
    request.set_model(Pick(names_));
    Call(*server_.models, &v1::Models::Stub::SetTag, request);
  }

  void Update() {
    v1::UpdateModelRequest request;
    request.mutable_model()->set_id(Pick(names_));
    request.mutable_model()->set_etag(Pick({"", "1"}));
    (*request.mutable_model()->mutable_labels())[Text()] = Text();
    request.mutable_update_mask()->add_paths(Pick({"labels", "metadata"}));
    Call(*server_.models, &v1::Models::Stub::UpdateModel, request);
  }

  // A job may fail, of a file that is none, say.
  void RunJobs() {
    while (true) {
      absl::StatusOr<JobQueue::Claim> claim = server_.store().jobs().ClaimNext();
      if (!claim.ok()) std::abort();
      if (!claim->job.has_value()) return;
      server_.store().runner().Run(*std::move(claim->job), [] { return false; }).IgnoreError();
    }
  }

  FuzzedDataProvider input_;
  TestServer& server_;
  const std::string good_id_ = "good";
  std::string file_bytes_;
  std::vector<std::string> names_;
  const std::vector<std::string> request_ids_;
  std::vector<std::string> uploads_;
  std::vector<std::string> jobs_;
  std::vector<std::string> tokens_;
  const std::vector<std::string> paths_ = {"model.safetensors", "config.json",
                                           "model.safetensors.index.json"};
};

}  // namespace
}  // namespace wdelta::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // What a helper of the tests expects is expected here, too.
  ::testing::FLAGS_gtest_break_on_failure = true;
  static int sequences = 0;
  static wdelta::testing::TestServer* server = nullptr;
  if (sequences % wdelta::testing::kSequencesPerServer == 0) {
    delete server;
    server = new wdelta::testing::TestServer();
    server->Push("good", wdelta::testing::GoodFiles());
    server->RunJobs();
  }
  wdelta::testing::Sequence(*server, sequences++, data, size).Run();
  return 0;
}
