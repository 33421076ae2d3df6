// Records of a catalog as an attacker, or a bad disk, may have left them: all that reads
// records is called, and must answer or refuse.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace wdelta::testing {

// Which record of the store a value is put at.
enum class StoredRecord : unsigned char {
  kModel,
  kParent,  // the model that the first names
  kName,
  kTag,
  kTagChange,
  kStorageChoice,
  kIndexedContent,
  kTensorPlace,
  kBlob,
  kUpload,
  kStagedSize,
  kRequest,
  kJob,
  kRetentionRule,
  kLabelRun,
  kGcKept,
  kCount,
};

struct StoredValue {
  StoredRecord record;
  std::string value;
};

// Keys, names and ids of the store that the values are put into.
struct StoredIds {
  static constexpr char kModel[] = "01aaaaaaaaaaaaaaaaaaaaaaaa";
  static constexpr char kParent[] = "01aaaaaaaaaaaaaaaaaaaaaaab";
  static constexpr char kUpload[] = "01aaaaaaaaaaaaaaaaaaaaaaac";
  static constexpr char kJob[] = "01aaaaaaaaaaaaaaaaaaaaaaad";
  static constexpr char kName[] = "m";
  static constexpr char kTag[] = "t";
};

// A store in memory over these values, whose other keys are as they are when all is well.
// Calls all that reads records; what it answers does not matter.
void ReadStore(const std::vector<StoredValue>& values);

// `<record><size, 2 bytes, little endian><value>`, again and again. What is cut off is left out.
std::vector<StoredValue> SplitValues(absl::string_view bytes);
std::string JoinValues(const std::vector<StoredValue>& values);

// Values that belong together: a model of one file with a storage parent, an open upload, a job.
std::vector<StoredValue> SoundValues();

}  // namespace wdelta::testing
