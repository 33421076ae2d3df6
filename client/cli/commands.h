// The commands, one file each. Each function adds its command to `app`; `session`
// must outlive it.
#pragma once

#include "CLI/CLI.hpp"
#include "client/cli/session.h"

namespace wdelta {

void AddAdminCommand(CLI::App& app, Session& session);
void AddPushCommand(CLI::App& app, Session& session);
void AddPullCommand(CLI::App& app, Session& session);
void AddLsCommand(CLI::App& app, Session& session);
void AddShowCommand(CLI::App& app, Session& session);
void AddSearchCommand(CLI::App& app, Session& session);
void AddLogCommand(CLI::App& app, Session& session);
void AddPathCommand(CLI::App& app, Session& session);
void AddDiffCommand(CLI::App& app, Session& session);
void AddBlameCommand(CLI::App& app, Session& session);
void AddMergeCommand(CLI::App& app, Session& session);
void AddTagCommand(CLI::App& app, Session& session);
void AddExplainCommand(CLI::App& app, Session& session);
void AddRepackCommand(CLI::App& app, Session& session);
void AddRetentionCommand(CLI::App& app, Session& session);
void AddRmCommand(CLI::App& app, Session& session);
void AddGcCommand(CLI::App& app, Session& session);
void AddScrubCommand(CLI::App& app, Session& session);
void AddJobsCommand(CLI::App& app, Session& session);
void AddFetchCommand(CLI::App& app, Session& session);
void AddInspectCommand(CLI::App& app, Session& session);
void AddExportCommand(CLI::App& app, Session& session);
void AddImportCommand(CLI::App& app, Session& session);
void AddTokenCommand(CLI::App& app, Session& session);
void AddVersionCommand(CLI::App& app, Session& session);

}  // namespace wdelta
