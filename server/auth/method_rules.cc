#include "server/auth/method_rules.h"

#include <algorithm>

namespace wdelta {
namespace {

using Kind = SubjectKind;

// What a model was made from is told with it, by name: a limited token may declare parents
// that it could not fetch, if that gives it none of their bits (Uploads.StartUpload).
constexpr MethodRule kRules[] = {
    {.method = "Admin.GetServerInfo"},  // clients ask before they push
    {.method = "Admin.Backup", .scope = Scope::kAdmin, .needs_all_names = true},

    {.method = "Compare.Diff",
     .scope = Scope::kRead,
     .subjects = {{{"model_a", Kind::kModel}, {"model_b", Kind::kModel}}}},
    {.method = "Compare.Blame", .scope = Scope::kRead, .subjects = {{{"model", Kind::kModel}}}},

    {.method = "Fetch.FetchTensors",
     .scope = Scope::kRead,
     .subjects = {{{"model", Kind::kModel}, {"further_selections.model", Kind::kModel}}}},
    {.method = "Fetch.FetchFile", .scope = Scope::kRead, .subjects = {{{"model", Kind::kModel}}}},
    {.method = "Fetch.FetchDelta",
     .scope = Scope::kRead,
     .subjects = {{{"model", Kind::kModel}, {"held_models", Kind::kWrittenModel}}}},

    {.method = "Jobs.GetJob", .scope = Scope::kRead, .subjects = {{{"job", Kind::kJob}}}},
    {.method = "Jobs.ListJobs", .scope = Scope::kRead, .listed = {"jobs", "model_name"}},
    {.method = "Jobs.WatchJob", .scope = Scope::kRead, .subjects = {{{"job", Kind::kJob}}}},
    {.method = "Jobs.CancelJob", .scope = Scope::kWrite, .subjects = {{{"job", Kind::kJob}}}},

    {.method = "Lineage.Traverse",
     .scope = Scope::kRead,
     .subjects = {{{"model", Kind::kModel}}},
     .listed = {"nodes", "model.name"}},
    {.method = "Lineage.ListRoots", .scope = Scope::kRead, .listed = {"nodes", "model.name"}},
    {.method = "Lineage.ListLeaves", .scope = Scope::kRead, .listed = {"nodes", "model.name"}},
    {.method = "Lineage.ListChildren",
     .scope = Scope::kRead,
     .subjects = {{{"model", Kind::kModel}}},
     .listed = {"nodes", "model.name"}},
    {.method = "Lineage.FindPath",
     .scope = Scope::kRead,
     .subjects = {{{"from", Kind::kModel}, {"to", Kind::kModel}}},
     .listed = {"steps", "node.model.name", true}},
    {.method = "Lineage.CommonAncestors",
     .scope = Scope::kRead,
     .subjects = {{{"models", Kind::kModel}}},
     .listed = {"ancestors", "node.model.name"}},

    {.method = "Maintenance.PlanGc",
     .scope = Scope::kAdmin,
     .needs_all_names = true,
     .only_reads = true},
    {.method = "Maintenance.StartGc",
     .scope = Scope::kAdmin,
     .needs_all_names = true,
     .told = "job"},
    {.method = "Maintenance.StartScrub",
     .scope = Scope::kAdmin,
     .needs_all_names = true,
     .told = "job"},
    {.method = "Maintenance.SetRetentionRule",
     .scope = Scope::kAdmin,
     .needs_all_names = true,
     .told = "name"},
    {.method = "Maintenance.ListRetentionRules", .scope = Scope::kRead, .needs_all_names = true},
    {.method = "Maintenance.DeleteRetentionRule", .scope = Scope::kAdmin, .needs_all_names = true},

    {.method = "Merge.MergeModels",
     .scope = Scope::kWrite,
     .subjects = {{{"name", Kind::kName}, {"sources.model", Kind::kModel}, {"base", Kind::kModel}}},
     .told = "model.id"},

    {.method = "Models.GetModel", .scope = Scope::kRead, .subjects = {{{"model", Kind::kModel}}}},
    {.method = "Models.ListModels", .scope = Scope::kRead, .listed = {"models", "name"}},
    {.method = "Models.ListTensors",
     .scope = Scope::kRead,
     .subjects = {{{"model", Kind::kModel}}}},
    {.method = "Models.UpdateModel",
     .scope = Scope::kWrite,
     .subjects = {{{"model.id", Kind::kModelId}}},
     .told = "name"},
    {.method = "Models.DeleteModel",
     .scope = Scope::kWrite,
     .subjects = {{{"model", Kind::kModel}}}},
    {.method = "Models.ExplainStorage",
     .scope = Scope::kRead,
     .subjects = {{{"model", Kind::kModel}}},
     .listed = {"candidates", "name", true}},
    {.method = "Models.RepackModel",
     .scope = Scope::kAdmin,
     .subjects = {{{"model", Kind::kModel}}},
     .told = "job"},
    {.method = "Models.SetTag",
     .scope = Scope::kWrite,
     .subjects = {{{"name", Kind::kName}, {"tag"}, {"model", Kind::kModel}}}},
    {.method = "Models.DeleteTag",
     .scope = Scope::kWrite,
     .subjects = {{{"name", Kind::kName}, {"tag"}}}},
    {.method = "Models.ListTags",
     .scope = Scope::kRead,
     .subjects = {{{"name", Kind::kName}}},
     .listed = {"tags", "name"}},
    {.method = "Models.ListTagHistory",
     .scope = Scope::kRead,
     .subjects = {{{"name", Kind::kName}}}},

    // The method checks `parents`, of what may be lossy and of a `.wdelta`; those of a lossless
    // checkpoint may be anybody's.
    {.method = "Uploads.StartUpload",
     .scope = Scope::kWrite,
     .subjects = {{{"name", Kind::kName}}},
     .told = "id"},
    {.method = "Uploads.AddEntries",
     .scope = Scope::kWrite,
     .subjects = {{{"upload", Kind::kUpload}}}},
    {.method = "Uploads.WriteEntries",
     .scope = Scope::kWrite,
     .subjects = {{{"upload", Kind::kUpload}}}},
    {.method = "Uploads.FindContent",
     .scope = Scope::kWrite,
     .subjects = {{{"upload", Kind::kUpload}}},
     .only_reads = true},
    // Of one who writes it.
    {.method = "Uploads.GetUpload",
     .scope = Scope::kWrite,
     .subjects = {{{"upload", Kind::kUpload}}},
     .only_reads = true},
    {.method = "Uploads.ListUploads", .scope = Scope::kRead, .listed = {"uploads", "name"}},
    {.method = "Uploads.FinishUpload",
     .scope = Scope::kWrite,
     .subjects = {{{"upload", Kind::kUpload}}},
     .told = "model.name"},
    {.method = "Uploads.CancelUpload",
     .scope = Scope::kWrite,
     .subjects = {{{"upload", Kind::kUpload}}}},
};

}  // namespace

const MethodRule* FindMethodRule(absl::string_view method) {
  const auto* const found =
      std::find_if(std::begin(kRules), std::end(kRules),
                   [&](const MethodRule& rule) { return rule.method == method; });
  return found == std::end(kRules) ? nullptr : found;
}

absl::Span<const MethodRule> AllMethodRules() { return kRules; }

}  // namespace wdelta
