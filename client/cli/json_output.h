// The JSON forms of what the server says. Names are those of the protos, stable;
// enum values are in lower case; numbers are numbers; times are RFC 3339.
#pragma once

#include <string>

#include "nlohmann/json.hpp"
#include "wdelta/v1/admin.pb.h"
#include "wdelta/v1/jobs.pb.h"
#include "wdelta/v1/lineage.pb.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

using Json = nlohmann::ordered_json;

// `id` is a reference, `id:ID`.
Json ModelJson(const v1::Model& model);
Json ExplanationJson(const v1::StorageExplanation& explanation);
Json TensorJson(const v1::Tensor& tensor);
Json TagJson(const v1::Tag& tag);
Json TagChangeJson(const v1::TagChange& change);
Json LineageNodeJson(const v1::LineageNode& node);
Json PathStepJson(const v1::PathStep& step);
Json CommonAncestorJson(const v1::CommonAncestor& ancestor);
// With `gc_report` where it has one.
Json JobJson(const v1::Job& job);
Json GcReportJson(const v1::GcReport& report);
Json ServerInfoJson(const v1::ServerInfo& info);

std::string StateWord(v1::Model::State state);
std::string StateWord(v1::Job::State state);
std::string KindWord(v1::Job::Kind kind);
std::string SourceWord(v1::StorageCandidate::Source source);
// Empty for a candidate that was not refused.
std::string RefusalWord(v1::StorageCandidate::Refusal refusal);
std::string ReasonWord(v1::TagChange::Reason reason);

}  // namespace wdelta
