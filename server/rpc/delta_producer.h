// FetchDelta: the `.wdelta` files of a route, one behind the other.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc/fetch_producers.h"
#include "server/rpc/rpc_environment.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// Blocks on storage, and on the codec pool for a sample of the model. A delta that is made
// while it is sent takes a slot and a thread of the environment's comparisons, as it reads two
// models to the end, too; the environment must outlive the producer. Errors as documented in
// fetch.proto; reasons besides the engine's: `TOO_MANY_FETCHES`, `OFFSET_PAST_END`.
absl::StatusOr<std::unique_ptr<FileProducer>> OpenDelta(RpcEnvironment& environment,
                                                        const v1::FetchDeltaRequest& request);

}  // namespace wdelta
