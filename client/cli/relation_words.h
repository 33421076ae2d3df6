// The words for what an edge of the lineage means. Pure functions.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

// All of them, for messages and help.
inline constexpr char kRelationWords[] =
    "fine-tune, merge, quantisation, distillation, continued, other";

// One of kRelationWords; `unknown` for what a newer server may say.
std::string RelationWord(v1::Parent::Relation relation);

// The relation of a word, or of the name that the API has for it, whatever the case and with
// `-` or `_`; unspecified when empty. INVALID_ARGUMENT lists the words.
absl::StatusOr<v1::Parent::Relation> ParseRelation(absl::string_view word);

}  // namespace wdelta
