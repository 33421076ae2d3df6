#include "tests/simulation/oracle.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/engine/records/fidelity.h"

namespace wdelta::testing {
namespace {

// "id:ID" -> "ID"
std::string IdOf(const std::string& reference) { return reference.substr(3); }

LiveModel NewModel(const std::string& id, const std::string& name) {
  LiveModel model;
  model.id = id;
  model.name = name;
  model.may_expire = absl::StartsWith(name, kExpiringPrefix);
  model.labels = {""};
  return model;
}

}  // namespace

void Oracle::AddModel(LiveModel model) {
  const std::string id = model.id;
  models.try_emplace(id, std::move(model));
}

void Oracle::AddModelOf(const OpenUpload& upload, const std::string& id) {
  LiveModel model = NewModel(id, upload.params.name);
  model.content = upload.content;
  model.is_lossy = AllowsLoss(upload.params.fidelity);
  for (const ParentReference& parent : upload.params.parents) {
    model.parents.push_back(IdOf(parent.reference));
  }
  AddModel(std::move(model));
  uploads.erase(std::string(upload.params.request_id));
}

void Oracle::AddModelOf(const MergeParams& merge, const std::string& id) {
  LiveModel model = NewModel(id, merge.name);
  for (const std::string& source : merge.sources) model.parents.push_back(IdOf(source));
  AddModel(std::move(model));
  merges.erase(std::string(merge.request_id));
}

void Oracle::MarkDeleted(const std::string& id) {
  MarkMaybeDeleted(id);
  const auto model = models.find(id);
  if (model != models.end() && model->second.content != nullptr) {
    last_deleted = model->second.content;
  }
  models.erase(id);
  deleted.insert(id);
  for (auto& [tag, targets] : tags) targets.erase(id);
}

void Oracle::MarkMaybeDeleted(const std::string& id) {
  if (const auto model = models.find(id); model != models.end()) {
    model->second.maybe_deleted = true;
  }
  for (auto& [tag, targets] : tags) {
    if (targets.contains(id)) targets.insert("");
  }
}

ContentPtr RandomContent(Random& random, const Content* origin) {
  auto content = std::make_shared<Content>();
  if (origin == nullptr) {
    constexpr uint64_t kRows[] = {8, 40, 40, 40, 60};
    const uint64_t rows = random.OneIn(24) ? 500 : kRows[random.Below(std::size(kRows))];
    const auto seed = static_cast<uint32_t>(random.Below(5));  // equal content now and then
    content->tensors = {RandomWeights("a", {rows, 64}, 100 + seed),
                        RandomWeights("b", {40, 64}, 200 + static_cast<uint32_t>(random.Below(2))),
                        RandomWeights("c", {16}, 300 + seed)};
  } else {
    content->tensors = origin->tensors;
    if (!random.OneIn(5)) {
      for (TestTensor& tensor : content->tensors) {
        if (random.OneIn(3)) continue;  // shared with its origin
        tensor = FineTuned(tensor, static_cast<uint32_t>(random.Below(1000)));
      }
    }
  }
  std::string file = BuildSafetensors(content->tensors);
  if (random.OneIn(20)) {
    content->is_malformed = true;
    file[9] = '\0';
  }
  content->files = {{"model.safetensors", std::move(file)},
                    {"note.txt", absl::StrCat("note ", random.Below(3))}};
  if (random.OneIn(4)) content->files["tokenizer.json"] = std::string(5000, 't');
  return content;
}

}  // namespace wdelta::testing
