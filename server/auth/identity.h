// Who calls, by the token that came with the call, and what that token allows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// None includes another.
enum class Scope {
  kAny,  // of what every token allows
  kRead,
  kWrite,
  kAdmin,
};

// `read`, `write`, `admin`; `any`.
absl::string_view ScopeWord(Scope scope);

// Immutable once shared.
struct Identity {
  std::string name;          // of the token
  std::string token_sha256;  // of it, 32 bytes
  bool may_read = false;
  bool may_write = false;
  bool may_administer = false;
  // That names of models must begin with, one of them; empty: all names are allowed.
  std::vector<std::string> name_prefixes;

  bool IsLimited() const { return !name_prefixes.empty(); }
  bool Has(Scope scope) const;
  bool MayName(absl::string_view model_name) const;
};
using IdentityPtr = std::shared_ptr<const Identity>;

// PERMISSION_DENIED (`SCOPE_MISSING`); `what` is what was asked for.
absl::Status CheckScope(const Identity& identity, Scope scope, absl::string_view what);

// PERMISSION_DENIED (`NAME_NOT_ALLOWED`).
absl::Status CheckName(const Identity& identity, absl::string_view model_name);

// Of what concerns all models, or of a subject that belongs to none.
// PERMISSION_DENIED (`NAME_NOT_ALLOWED`) for a limited token.
absl::Status CheckUnlimited(const Identity& identity, absl::string_view what);

}  // namespace wdelta
