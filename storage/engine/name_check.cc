#include "storage/engine/name_check.h"

#include "storage/base/status_macros.h"
#include "storage/engine/models.h"
#include "storage/engine/names.h"

namespace wdelta {

absl::Status CheckFound(const NameCheck& check, absl::string_view reference,
                        absl::string_view model_name) {
  if (MayName(check, model_name)) return absl::OkStatus();
  const absl::StatusOr<ModelReference> parsed = ParseModelReference(reference);
  if (parsed.ok() && !parsed->name.empty()) WDELTA_RETURN_IF_ERROR(check(parsed->name));
  return ModelNotFound(reference);
}

}  // namespace wdelta
