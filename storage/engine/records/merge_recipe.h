// What a merge was asked to compute, checked, and as text. Pure functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/engine/records/names.h"
#include "store/v1/records.pb.h"

namespace wdelta {

inline constexpr double kDefaultMergeWeight = 1;
inline constexpr double kDefaultMergeScale = 1;
inline constexpr double kDefaultMergeDensity = 0.2;

// Metadata of a merged model that the server writes starts so.
inline constexpr absl::string_view kMergeMetadataPrefix = "merge.";

// Whether the method works on deltas to a base.
bool HasBase(store::v1::MergeRecipe::Method method);

// `linear`, `task-arithmetic`, `ties`.
absl::string_view MethodName(store::v1::MergeRecipe::Method method);

// Method, number of sources, weights, scale and density; not which models they are.
// INVALID_ARGUMENT: `BAD_METHOD`, `BAD_SOURCES`, `BAD_WEIGHT`, `BAD_LAMBDA`, `BAD_DENSITY`.
absl::Status ValidateRecipe(const store::v1::MergeRecipe& recipe);

// The shortest text that is read back as the same number.
std::string NumberText(double number);

// Metadata with which the merge can be done again. `digests`: hex, of the base where there
// is one, then of the sources.
StringMap RecipeMetadata(const store::v1::MergeRecipe& recipe,
                         const std::vector<std::string>& digests);

}  // namespace wdelta
