// Where a pull writes to, looked at before it transfers anything.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

// `folder` need not exist; `link_from` as of PullOptions. Errors: INVALID_ARGUMENT where a folder
// has the name of a file; RESOURCE_EXHAUSTED (reason `DISK_FULL`) when the disk has less space than
// what is missing takes at the end. Of what is there only sizes are looked at: a file of the right
// size counts as being there. OK also where nobody knows how much space there is.
absl::Status CheckDestination(const std::vector<v1::File>& files, const std::string& folder,
                              const std::string& link_from);

}  // namespace wdelta
