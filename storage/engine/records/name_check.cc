#include "storage/engine/records/name_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/names.h"

namespace wdelta {

absl::Status ModelNotFound(absl::string_view reference) {
  return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                   absl::StrCat("no model '", reference, "'"), {{"model", std::string(reference)}});
}

absl::Status CheckFound(const NameCheck& check, absl::string_view reference,
                        absl::string_view model_name) {
  if (MayName(check, model_name)) return absl::OkStatus();
  const absl::StatusOr<ModelReference> parsed = ParseModelReference(reference);
  if (parsed.ok() && !parsed->name.empty()) WDELTA_RETURN_IF_ERROR(check(parsed->name));
  return ModelNotFound(reference);
}

}  // namespace wdelta
