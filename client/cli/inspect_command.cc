#include "client/cli/commands.h"
#include "client/cpp/local_delta.h"
#include "client/cpp/local_files.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/dump.h"
#include "storage/wdelta/v1/dump.h"
#include "storage/wdelta/v1/v1_reader.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta inspect qwen-wiki.wdelta\n"
    "  wdelta inspect qwen-wiki.wdelta --output json\n";

struct Arguments {
  std::string file;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("FILE", arguments.file, "A `.wdelta` file on this machine")->required();
}

absl::StatusOr<std::string> DumpVersion1(std::shared_ptr<const RandomAccessFile> file,
                                         bool is_json) {
  WDELTA_ASSIGN_OR_RETURN(const auto reader, V1Reader::Open(std::move(file)));
  return is_json ? DumpV1Json(*reader) : DumpV1Text(*reader);
}

absl::StatusOr<std::string> DumpVersion2(std::shared_ptr<const RandomAccessFile> file,
                                         bool is_json) {
  WDELTA_ASSIGN_OR_RETURN(const auto reader, WdeltaReader::Open(std::move(file)));
  return is_json ? DumpJson(*reader) : DumpText(*reader);
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(std::shared_ptr<const RandomAccessFile> file,
                          OpenLocalFile(arguments.file));
  WDELTA_RETURN_IF_ERROR(CheckIsDelta(arguments.file, *file));
  const absl::StatusOr<bool> is_v1 = IsV1File(*file);
  if (!is_v1.ok()) return LocalFileError(Annotate(is_v1.status(), arguments.file));
  absl::StatusOr<std::string> text = *is_v1 ? DumpVersion1(std::move(file), session.is_json())
                                            : DumpVersion2(std::move(file), session.is_json());
  if (!text.ok()) return LocalFileError(Annotate(text.status(), arguments.file));
  if (text->empty() || text->back() != '\n') *text += '\n';
  session.Print(*text);
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(
      app, session, "inspect",
      "Show what a `.wdelta` file holds, ours or one of deltatensors (version 1); needs "
      "no server and no base",
      kExamples, Add, Run);
}

}  // namespace wdelta
