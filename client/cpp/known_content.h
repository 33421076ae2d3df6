// What of a checkpoint the server has already, so that it need not be sent; part of
// push.h.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/push_stream.h"
#include "storage/base/digest.h"

namespace wdelta {

// kAuto hashes a few tensors, spread over the checkpoint, and the rest only if the
// server has one of them.
enum class Reuse { kAuto, kAlways, kNever };

// Sets `known` in every file that is not durable yet: its tensors, or the whole of a
// side file. Files are read once more for that, by as many threads as there are cores. A
// file that cannot be read or parsed is left without: sending it tells why. A server
// that does not know the question knows no content. CANCELLED when interrupted;
// `interrupt` may be null.
absl::Status FindKnownContent(Client& client, const std::string& upload, Reuse reuse,
                              Interrupt* interrupt, std::vector<UploadFile>& files);

}  // namespace wdelta
