#include "server/rpc/convert.h"

#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

Model ReadyModel() {
  Model model;
  model.version = 42;
  ModelRecord& record = model.record;
  record.set_id("i");
  record.set_name("n");
  record.set_digest(std::string(32, '\x01'));
  record.set_state(ModelRecord::READY);
  record.set_delta_digest(std::string(32, '\x02'));
  record.set_storage_parent_id("p");
  record.set_storage_depth(1);
  record.set_create_time_us(1'500'001);
  record.set_ready_time_us(2'000'000);
  store::v1::ParentEdge* edge = record.add_parents();
  edge->set_model_id("p");
  edge->set_name("base");
  edge->set_relation(store::v1::ParentEdge::MERGE);
  store::v1::FileRecord* file = record.add_files();
  file->set_path("a.safetensors");
  file->set_sha256(std::string(32, '\x03'));
  file->set_size_bytes(9);
  file->set_is_safetensors(true);
  return model;
}

TEST(Convert, ReadyModel) {
  const v1::Model out = ToProto(ReadyModel(), FileList::kInclude);
  EXPECT_EQ(out.digest().substr(0, 11), "sha256:0101");
  EXPECT_EQ(out.state(), v1::Model::READY);
  EXPECT_EQ(out.etag(), "42");
  EXPECT_EQ(out.create_time().seconds(), 1);
  EXPECT_EQ(out.create_time().nanos(), 500'001'000);
  EXPECT_EQ(out.storage().parent(), "id:p");
  EXPECT_EQ(out.storage().delta_digest().substr(0, 11), "sha256:0202");
  ASSERT_EQ(out.parents_size(), 1);
  EXPECT_EQ(out.parents(0).model(), "id:p");
  EXPECT_EQ(out.parents(0).name(), "base");
  EXPECT_EQ(out.parents(0).relation(), v1::Parent::MERGE);
  ASSERT_EQ(out.files_size(), 1);
  EXPECT_EQ(out.files(0).sha256().substr(0, 4), "0303");
  EXPECT_EQ(out.file_count(), 1u);
  EXPECT_TRUE(out.fidelity().has_lossless());
}

TEST(Convert, ListsOmitFilesAndStagedModelsHaveNoStorage) {
  Model model = ReadyModel();
  model.record.set_state(ModelRecord::STAGED);
  const v1::Model out = ToProto(model, FileList::kOmit);
  EXPECT_EQ(out.files_size(), 0);
  EXPECT_EQ(out.file_count(), 1u);
  EXPECT_FALSE(out.has_storage());
  EXPECT_FALSE(out.has_ready_time());
}

TEST(Convert, ImportingModelHasNoDigest) {
  Model model = ReadyModel();
  model.record.set_state(ModelRecord::IMPORTING);
  EXPECT_EQ(ToProto(model, FileList::kOmit).digest(), "");
}

TEST(Convert, TombstoneTellsIdNameAndParentsOnly) {
  const v1::Model out = TombstoneToProto(ReadyModel());
  EXPECT_EQ(out.id(), "i");
  EXPECT_EQ(out.name(), "n");
  EXPECT_EQ(out.parents_size(), 1);
  EXPECT_EQ(out.digest(), "");
  EXPECT_FALSE(out.has_create_time());
}

TEST(Convert, FingerprintIgnoresRequestIdOnly) {
  v1::StartUploadRequest request;
  request.set_name("n");
  request.set_request_id("one");
  v1::StartUploadRequest same = request;
  same.set_request_id("two");
  v1::StartUploadRequest other = request;
  other.set_name("m");
  EXPECT_EQ(FromProto(request)->fingerprint, FromProto(same)->fingerprint);
  EXPECT_NE(FromProto(request)->fingerprint, FromProto(other)->fingerprint);
}

TEST(Convert, RefusesWhatItDoesNotKnow) {
  v1::StartUploadRequest request;
  // Field 15 of FidelityPolicy, length-delimited and empty.
  request.mutable_fidelity()->ParseFromString(std::string("\x7a\x00", 2));
  EXPECT_EQ(ErrorReason(FromProto(request).status()), "BAD_FIDELITY");
  request.clear_fidelity();
  request.set_kind(static_cast<v1::UploadKind>(9));
  EXPECT_EQ(ErrorReason(FromProto(request).status()), "BAD_KIND");
  request.clear_kind();
  request.add_parents()->set_relation(static_cast<v1::Parent::Relation>(77));
  EXPECT_EQ(ErrorReason(FromProto(request).status()), "BAD_RELATION");
  v1::ListModelsRequest list;
  list.add_states(v1::Model::STATE_UNSPECIFIED);
  EXPECT_EQ(ErrorReason(FromProto(list).status()), "BAD_STATE");
}

TEST(Convert, AnUploadSaysWhenItExpiresAndWhetherItDid) {
  UploadView upload;
  upload.record.set_state(store::v1::UploadRecord::OPEN);
  EXPECT_FALSE(ToProto(upload, EntryList::kInclude).has_expire_time());
  upload.expire_time = absl::FromUnixSeconds(1000);
  EXPECT_EQ(ToProto(upload, EntryList::kInclude).expire_time().seconds(), 1000);
  EXPECT_FALSE(ToProto(upload, EntryList::kInclude).expired());
  upload.record.set_state(store::v1::UploadRecord::CANCELLED);
  upload.record.set_expired(true);
  EXPECT_TRUE(ToProto(upload, EntryList::kOmit).expired());
}

}  // namespace
}  // namespace wdelta
