#include "tests/crash/crash_checks.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/client.h"
#include "client/cpp/rpc_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "tests/crash/crash_worker.h"
#include "wdelta/v1/maintenance.grpc.pb.h"

namespace wdelta::testing {
namespace {

using ::testing::IsEmpty;

constexpr absl::Duration kTimeout = absl::Seconds(60);

// Not to be called by more than one thread.
class Checker {
 public:
  Checker(const std::shared_ptr<grpc::Channel>& channel, Truth& truth)
      : client_(channel), truth_(truth) {}

  void SettleModels() {
    for (const LiveModel& model : truth_.Models()) {
      if (!model.maybe_deleted) continue;
      const auto found = client_.GetModel(absl::StrCat("id:", model.id));
      EXPECT_TRUE(found.ok() || absl::IsNotFound(found.status())) << found.status();
      truth_.SettleModel(model.id, found.ok());
    }
  }

  void SettleUploads() {
    for (OpenUpload& upload : truth_.Uploads()) {
      SCOPED_TRACE(absl::StrCat("upload of ", upload.request.name()));
      SettleUpload(upload);
    }
  }

  void SettleTags() {
    for (const auto& [tag, targets] : truth_.Tags()) {
      const auto found = client_.GetModel(tag);
      EXPECT_TRUE(found.ok() || absl::IsNotFound(found.status())) << found.status();
      const std::string id = found.ok() ? found->id() : "";
      EXPECT_TRUE(targets.contains(id)) << tag << " points at '" << id << "'";
      truth_.SettleTag(tag, id);
    }
  }

  // After all is settled.
  void CheckModels() {
    std::set<std::string> promised;
    std::map<std::string, std::string> newest;  // by name
    for (const LiveModel& model : truth_.Models()) {
      promised.insert(model.id);
      std::string& id = newest[model.name];
      id = std::max(id, model.id);
      const absl::Status read = CheckContent(client_, truth_, model);
      EXPECT_TRUE(read.ok()) << model.name << " id:" << model.id << ": " << read;
    }
    const auto listed = client_.ListModels().All();
    ASSERT_TRUE(listed.ok()) << listed.status();
    std::set<std::string> found;
    for (const v1::Model& model : *listed) found.insert(model.id());
    EXPECT_EQ(found, promised);
    for (const auto& [name, id] : newest) {
      const auto model = client_.GetModel(name);
      ASSERT_TRUE(model.ok()) << name << ": " << model.status();
      EXPECT_EQ(model->id(), id) << name;
    }
  }

  void CheckTags() {
    std::set<std::string> promised;
    for (const auto& [tag, targets] : truth_.Tags()) {
      if (!targets.contains("")) promised.insert(tag);
    }
    const auto listed = client_.ListTags().All();
    ASSERT_TRUE(listed.ok()) << listed.status();
    std::set<std::string> found;
    for (const v1::Tag& tag : *listed) found.insert(absl::StrCat(tag.name(), "@", tag.tag()));
    EXPECT_EQ(found, promised);
  }

  void CheckUploads() {
    std::set<std::string> promised;
    for (const OpenUpload& upload : truth_.Uploads()) promised.insert(upload.id);
    v1::ListUploadsResponse response;
    grpc::ClientContext context;
    SetDeadline(context);
    const grpc::Status status =
        client_.uploads().ListUploads(&context, v1::ListUploadsRequest(), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    std::set<std::string> found;
    for (const v1::Upload& upload : response.uploads()) found.insert(upload.id());
    EXPECT_EQ(found, promised);
  }

  void DeleteAll() {
    for (const OpenUpload& upload : truth_.Uploads()) {
      v1::CancelUploadRequest request;
      request.set_upload(upload.id);
      google::protobuf::Empty response;
      grpc::ClientContext context;
      SetDeadline(context);
      const grpc::Status status = client_.uploads().CancelUpload(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      truth_.DropUpload(upload.request.request_id());
    }
    for (const LiveModel& model : truth_.Models()) {
      const absl::Status deleted = client_.DeleteModel(absl::StrCat("id:", model.id));
      EXPECT_TRUE(deleted.ok()) << deleted;
      truth_.SettleModel(model.id, false);
    }
    AwaitJobs();
  }

  // A GC that has ended must have had no problem.
  void CollectGarbage(const std::shared_ptr<grpc::Channel>& channel) {
    v1::StartGcResponse response;
    grpc::ClientContext context;
    SetDeadline(context);
    const grpc::Status started =
        v1::Maintenance::NewStub(channel)->StartGc(&context, v1::StartGcRequest(), &response);
    ASSERT_TRUE(started.ok()) << started.error_message();
    const auto job = client_.WatchJob(response.job());
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(job->state(), v1::Job::SUCCEEDED) << job->error();
    EXPECT_THAT(job->gc_report().problems(), IsEmpty());
    AwaitJobs();
    const auto info = client_.GetServerInfo();
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->model_count(), 0u);
    EXPECT_EQ(info->stored_bytes(), 0u);
  }

 private:
  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + kTimeout));
  }

  void SettleUpload(OpenUpload& upload) {
    v1::Upload found;
    grpc::ClientContext context;
    SetDeadline(context);
    // Opens it, if that had not happened.
    const absl::Status status =
        FromGrpcStatus(client_.uploads().StartUpload(&context, upload.request, &found));
    if (upload.id.empty() && absl::IsNotFound(status)) {  // a parent is gone meanwhile
      return truth_.DropUpload(upload.request.request_id());
    }
    ASSERT_TRUE(status.ok()) << status;
    if (upload.id.empty()) upload.id = found.id();
    EXPECT_EQ(found.id(), upload.id);
    switch (found.state()) {
      case v1::Upload::OPEN:
        for (const v1::Entry& entry : found.entries()) {
          EXPECT_GE(entry.durable_bytes(), upload.durable_bytes[entry.path()]) << entry.path();
        }
        upload.maybe_cancelled = false;
        return truth_.PutUpload(upload);
      case v1::Upload::CANCELLED:
        EXPECT_TRUE(upload.maybe_cancelled);
        return truth_.DropUpload(upload.request.request_id());
      default:
        break;
    }
    EXPECT_EQ(found.state(), v1::Upload::FINISHED);
    LiveModel model;
    model.id = found.model().substr(std::string("id:").size());
    model.name = upload.request.name();
    model.content = upload.content;
    model.is_lossy = upload.request.has_fidelity();
    truth_.AddModel(std::move(model));
    truth_.DropUpload(upload.request.request_id());
  }

  // Until all jobs have ended, none of them as failed.
  void AwaitJobs() {
    while (true) {
      const auto jobs = client_.ListJobs().All();
      ASSERT_TRUE(jobs.ok()) << jobs.status();
      std::string waiting;
      for (const v1::Job& job : *jobs) {
        EXPECT_NE(job.state(), v1::Job::FAILED)
            << v1::Job::Kind_Name(job.kind()) << " of " << job.model_name() << ": " << job.error();
        if (job.state() == v1::Job::PENDING || job.state() == v1::Job::RUNNING) waiting = job.id();
      }
      if (waiting.empty()) return;
      const auto job = client_.WatchJob(waiting);
      ASSERT_TRUE(job.ok()) << job.status();
    }
  }

  Client client_;
  Truth& truth_;
};

}  // namespace

void SettleAndCheck(const std::shared_ptr<grpc::Channel>& channel, Truth& truth) {
  Checker checker(channel, truth);
  checker.SettleModels();
  checker.SettleUploads();
  checker.SettleTags();
  checker.CheckModels();
  checker.CheckTags();
  checker.CheckUploads();
}

void DeleteAll(const std::shared_ptr<grpc::Channel>& channel, Truth& truth) {
  Checker checker(channel, truth);
  checker.DeleteAll();
  checker.CollectGarbage(channel);
  checker.CheckModels();
  checker.CheckUploads();
}

void ExpectEmptyDataDir(const std::string& data_dir) {
  EXPECT_TRUE(std::filesystem::is_empty(data_dir + "/staging"));
  const auto blobs = RocksdbBlobStore::Open(data_dir + "/blobs");
  ASSERT_TRUE(blobs.ok()) << blobs.status();
  const auto page = (*blobs)->List("", 10);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(page->blobs, IsEmpty()) << page->blobs[0].digest.ToHex();
  const auto catalog = RocksdbCatalog::Open(data_dir + "/catalog");
  ASSERT_TRUE(catalog.ok()) << catalog.status();
  for (const char* prefix : {"model/", "name/", "version/", "tag/", "tagged/", "digest/", "child/",
                             "encoded_on/", "storage_choice/", "indexed/", "layout/", "tensor/",
                             "blob/", "blob_of/", "staged/", "open_upload/", "queue/"}) {
    const auto records = (*catalog)->Scan({prefix, PrefixEnd(prefix), 10, false});
    ASSERT_TRUE(records.ok()) << records.status();
    EXPECT_THAT(records->records, IsEmpty()) << records->records[0].key;
  }
}

}  // namespace wdelta::testing
