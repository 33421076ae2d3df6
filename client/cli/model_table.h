// Lists of models for people.
#pragma once

#include <string>
#include <vector>

#include "client/cli/session.h"
#include "wdelta/v1/lineage.pb.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

std::string ModelTable(const std::vector<v1::Model>& models);

// The table, or what it holds as JSON, as the session wants it.
void PrintModels(const Session& session, const std::vector<v1::Model>& models);

// Of the lineage; deleted models are marked.
std::string LineageTable(const std::vector<v1::LineageNode>& nodes);

}  // namespace wdelta
