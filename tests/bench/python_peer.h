// Runs peers.py and takes the figures that it prints.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wdelta::bench {

// Figures by name. `python`: an interpreter that has the packages of requirements.txt.
// UNAVAILABLE, with the last line that the program said, when it ends with an error.
absl::StatusOr<std::map<std::string, double>> RunPythonPeer(
    const std::string& python, const std::vector<std::string>& arguments);

}  // namespace wdelta::bench
