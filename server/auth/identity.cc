#include "server/auth/identity.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"

namespace wdelta {

absl::string_view ScopeWord(Scope scope) {
  switch (scope) {
    case Scope::kAny:
      break;
    case Scope::kRead:
      return "read";
    case Scope::kWrite:
      return "write";
    case Scope::kAdmin:
      return "admin";
  }
  return "any";
}

bool Identity::Has(Scope scope) const {
  switch (scope) {
    case Scope::kAny:
      return true;
    case Scope::kRead:
      return may_read;
    case Scope::kWrite:
      return may_write;
    case Scope::kAdmin:
      return may_administer;
  }
  return false;
}

bool Identity::MayName(absl::string_view model_name) const {
  return name_prefixes.empty() ||
         std::any_of(name_prefixes.begin(), name_prefixes.end(), [&](const std::string& prefix) {
           return absl::StartsWith(model_name, prefix);
         });
}

absl::Status CheckScope(const Identity& identity, Scope scope, absl::string_view what) {
  if (identity.Has(scope)) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kPermissionDenied, "SCOPE_MISSING",
      absl::StrCat(what, ": token '", identity.name, "' lacks the scope ", ScopeWord(scope)),
      {{"scope", std::string(ScopeWord(scope))}});
}

absl::Status CheckName(const Identity& identity, absl::string_view model_name) {
  if (identity.MayName(model_name)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kPermissionDenied, "NAME_NOT_ALLOWED",
                   absl::StrCat("token '", identity.name, "' is not for the name '",
                                absl::CHexEscape(model_name), "'"));
}

absl::Status CheckUnlimited(const Identity& identity, absl::string_view what) {
  if (!identity.IsLimited()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kPermissionDenied, "NAME_NOT_ALLOWED",
                   absl::StrCat(what, ": token '", identity.name, "' is for some names only"));
}

}  // namespace wdelta
