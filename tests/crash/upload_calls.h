// Calls about uploads that the workers of the crash test and those of the soak test make alike.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/push.h"
#include "grpcpp/client_context.h"
#include "tests/crash/truth.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

// Of calls that the client library has no wrapper for.
void SetCallDeadline(grpc::ClientContext& context);

// The options by which PushCheckpoint goes on with an upload.
PushOptions OptionsOfPush(const v1::StartUploadRequest& request);

// Pushes what an upload is to hold, from wherever it is to its model, out of `folder`, which is
// left as it was.
absl::StatusOr<LiveModel> PushUpload(Client& client, const TempFolder& folder,
                                     const OpenUpload& upload, const PushOptions& options);

// Makes the upload, or finds it, and sets its id.
absl::Status StartUpload(Client& client, OpenUpload& upload);
// The same, then writes some of its first file on from where it is, and sets its durable bytes.
// Returns how many the daemon says there are.
absl::StatusOr<uint64_t> StartAndWritePart(Client& client, std::mt19937& random,
                                           OpenUpload& upload);
absl::Status CancelUpload(Client& client, const std::string& upload_id);

}  // namespace wdelta::testing
