// Key layouts of what a store does to look after itself; the others are in keys.h.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace wdelta::keys {

// scrub_job -> id of the last SCRUB job
inline constexpr absl::string_view kScrubJob = "scrub_job";

// gc_job -> id of the GC job that was added last
inline constexpr absl::string_view kGcJob = "gc_job";

// gc_kept/<model id> -> GcKeptRecord: of a deleted model
inline std::string GcKept(absl::string_view id) { return absl::StrCat("gc_kept/", id); }

// retention/<rule name> -> RetentionRuleRecord
inline constexpr absl::string_view kRetention = "retention/";
inline std::string Retention(absl::string_view name) { return absl::StrCat(kRetention, name); }

// Written with every change of a rule: its version is that of all of them.
inline constexpr absl::string_view kRetentionChange = "retention_change";

// label_run/<SHA-256 of label and value, hex> -> LabelRunRecord
inline constexpr absl::string_view kLabelRuns = "label_run/";
inline std::string LabelRun(absl::string_view hex) { return absl::StrCat(kLabelRuns, hex); }

}  // namespace wdelta::keys
