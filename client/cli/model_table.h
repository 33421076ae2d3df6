// Lists of models for people. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "wdelta/v1/lineage.pb.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

std::string ModelTable(const std::vector<v1::Model>& models);

// Of the lineage; deleted models are marked.
std::string LineageTable(const std::vector<v1::LineageNode>& nodes);

}  // namespace wdelta
