#include "server/rpc/call_subjects.h"

#include <utility>

#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"

namespace wdelta {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void AddStrings(const Message& message, absl::string_view path, std::vector<std::string>& out) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(path, absl::MaxSplits('.', 1));
  const FieldDescriptor* const field =
      message.GetDescriptor()->FindFieldByName(std::string(parts.first));
  if (field == nullptr) return;
  const Reflection& reflection = *message.GetReflection();
  const bool is_string = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (!is_string && !is_message) return;
  if (!field->is_repeated()) {
    if (is_string) {
      out.push_back(reflection.GetString(message, field));
    } else if (reflection.HasField(message, field)) {
      AddStrings(reflection.GetMessage(message, field), parts.second, out);
    }
    return;
  }
  for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
    if (is_string) {
      out.push_back(reflection.GetRepeatedString(message, field, i));
    } else {
      AddStrings(reflection.GetRepeatedMessage(message, field, i), parts.second, out);
    }
  }
}

}  // namespace

std::vector<std::string> StringsAt(const Message& message, absl::string_view path) {
  std::vector<std::string> strings;
  AddStrings(message, path, strings);
  return strings;
}

int KeepItems(Message& message, absl::string_view list, absl::string_view path,
              absl::FunctionRef<bool(absl::string_view)> keep) {
  const FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(std::string(list));
  if (field == nullptr || !field->is_repeated() ||
      field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    return 0;
  }
  const Reflection& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, field);
  int kept = 0;
  for (int i = 0; i < size; ++i) {
    const std::vector<std::string> strings =
        StringsAt(reflection.GetRepeatedMessage(message, field, i), path);
    if (!keep(strings.empty() ? absl::string_view() : strings[0])) continue;
    if (kept != i) reflection.SwapElements(&message, field, kept, i);
    ++kept;
  }
  for (int i = kept; i < size; ++i) reflection.RemoveLast(&message, field);
  return size - kept;
}

}  // namespace wdelta
