// What every rpc of the public API needs of its caller: a scope, and names in its request
// that the token must be for.
#pragma once

#include <array>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/auth/identity.h"

namespace wdelta {

enum class SubjectKind {
  kNone,
  kName,     // of a model
  kModel,    // a reference to a model
  kModelId,  // likewise, or a bare id
  // Likewise, but one that turns out to be of another name is passed over by the method, as one
  // that is not there.
  kWrittenModel,
  kUpload,  // an id
  kJob,     // an id
};

// A string of a request; its path goes through messages and lists with dots.
struct Subject {
  absl::string_view path;
  SubjectKind kind = SubjectKind::kNone;
};

// Items of a response that belong to a model.
struct Listed {
  absl::string_view list;  // field of the response
  absl::string_view name;  // path within an item: the model's name
  // Cannot be told in part: refused when one of its items is of a model that may not be read.
  bool is_whole = false;
};

struct MethodRule {
  absl::string_view method;  // `Service.Method`
  Scope scope = Scope::kAny;
  // What a token that is for some names must be allowed to name.
  std::array<Subject, 3> subjects = {};
  // What such a token is shown in part.
  Listed listed = {};
  // Concerns all models: not for such a token.
  bool needs_all_names = false;
  // Path of a string in the response that the audit log tells.
  absl::string_view told = {};

  // Asks for the scope of those who change things, and changes nothing.
  bool only_reads = false;

  // Whether it changes something.
  bool IsAudited() const {
    return (scope == Scope::kWrite || scope == Scope::kAdmin) && !only_reads;
  }
};

// Null: no such method.
const MethodRule* FindMethodRule(absl::string_view method);

absl::Span<const MethodRule> AllMethodRules();

}  // namespace wdelta
