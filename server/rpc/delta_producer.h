// FetchDelta: the `.wdelta` files of a route, one behind the other.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc/fetch_producers.h"
#include "server/rpc/rpc_environment.h"
#include "storage/engine/records/name_check.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// Blocks on storage. Where a delta may have to be made, that is found out, and done, with a
// slot and in a thread of the environment's foldings; without one, the stored ones are sent if
// they lead from a held model. The environment must outlive the producer. Errors, some of which
// come from the producer, as documented in fetch.proto; reasons besides the engine's:
// `TOO_MANY_FOLDINGS`, `OFFSET_PAST_END`, `SLOW_READER`, and NOT_FOUND (`MODEL_NOT_FOUND`) where
// `check_name` refuses a model on the route or the stored parent: a delta and one of its ends tell
// the other. Held models that it refuses are passed over.
absl::StatusOr<std::unique_ptr<FileProducer>> OpenDelta(RpcEnvironment& environment,
                                                        const v1::FetchDeltaRequest& request,
                                                        const NameCheck& check_name);

}  // namespace wdelta
