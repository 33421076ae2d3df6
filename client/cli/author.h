// Who runs the command line, for histories.
#pragma once

#include <string>

#include "CLI/CLI.hpp"

namespace wdelta {

// `user@host` of this process, as far as they are known; within the server's bounds.
std::string LocalAuthor();

// `--author`, which fills `author`; LocalAuthor by default.
void AddAuthorOption(CLI::App& command, std::string& author);

}  // namespace wdelta
