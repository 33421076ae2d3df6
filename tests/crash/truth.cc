#include "tests/crash/truth.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace wdelta::testing {

void Truth::AddModel(LiveModel model) {
  absl::MutexLock lock(&mutex_);
  const std::string id = model.id;
  models_[id] = std::move(model);
}

void Truth::MarkMaybeDeleted(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  models_.at(id).maybe_deleted = true;
}

void Truth::SettleModel(const std::string& id, bool exists) {
  absl::MutexLock lock(&mutex_);
  if (exists) {
    models_.at(id).maybe_deleted = false;
    return;
  }
  models_.erase(id);
  for (auto& [tag, targets] : tags_) {
    if (targets.erase(id) > 0) targets.insert("");
  }
}

bool Truth::TakeServed(const std::string& id, const std::map<std::string, std::string>& sha256) {
  absl::MutexLock lock(&mutex_);
  const auto model = models_.find(id);
  if (model == models_.end()) return true;  // deleted during the fetch
  if (model->second.served_sha256.empty()) model->second.served_sha256 = sha256;
  return model->second.served_sha256 == sha256;
}

std::vector<LiveModel> Truth::Models() const {
  absl::MutexLock lock(&mutex_);
  std::vector<LiveModel> models;
  for (const auto& [id, model] : models_) models.push_back(model);
  return models;
}

std::vector<LiveModel> Truth::ModelsOf(const std::string& prefix) const {
  std::vector<LiveModel> models = Models();
  std::erase_if(models, [&](const LiveModel& model) {
    return model.maybe_deleted || !absl::StartsWith(model.name, prefix);
  });
  return models;
}

bool Truth::IsLive(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  const auto model = models_.find(id);
  return model != models_.end() && !model->second.maybe_deleted;
}

void Truth::PutUpload(OpenUpload upload) {
  absl::MutexLock lock(&mutex_);
  const std::string request_id = upload.request.request_id();
  uploads_[request_id] = std::move(upload);
}

void Truth::DropUpload(const std::string& request_id) {
  absl::MutexLock lock(&mutex_);
  uploads_.erase(request_id);
}

std::vector<OpenUpload> Truth::Uploads() const {
  absl::MutexLock lock(&mutex_);
  std::vector<OpenUpload> uploads;
  for (const auto& [id, upload] : uploads_) uploads.push_back(upload);
  return uploads;
}

std::vector<OpenUpload> Truth::UploadsOf(const std::string& prefix) const {
  std::vector<OpenUpload> uploads = Uploads();
  std::erase_if(uploads, [&](const OpenUpload& upload) {
    return !absl::StartsWith(upload.request.name(), prefix);
  });
  return uploads;
}

void Truth::AllowTag(const std::string& tag, const std::string& model_id) {
  absl::MutexLock lock(&mutex_);
  const auto [targets, is_new] = tags_.try_emplace(tag);
  if (is_new) targets->second.insert("");
  targets->second.insert(model_id);
}

void Truth::SettleTag(const std::string& tag, const std::string& model_id) {
  absl::MutexLock lock(&mutex_);
  tags_[tag] = {model_id};
}

std::map<std::string, std::set<std::string>> Truth::Tags() const {
  absl::MutexLock lock(&mutex_);
  return tags_;
}

ContentPtr RandomContent(std::mt19937& random, const Content* origin) {
  auto content = std::make_shared<Content>();
  if (origin == nullptr) {
    constexpr uint64_t kRows[] = {20, 60, 60, 100, 450, 900};  // up to several chunks
    const uint32_t seed = random() % 8;                        // equal content now and then
    content->tensors = {RandomWeights("a", {kRows[random() % std::size(kRows)], 640}, 100 + seed),
                        RandomWeights("b", {64}, 200 + seed)};
  } else {
    content->tensors = origin->tensors;
    if (random() % 5 > 0) {
      for (TestTensor& tensor : content->tensors) tensor = FineTuned(tensor, random());
    }
  }
  content->files = {{"model.safetensors", BuildSafetensors(content->tensors)},
                    {"note.txt", absl::StrCat("note ", random() % 4)}};
  return content;
}

}  // namespace wdelta::testing
