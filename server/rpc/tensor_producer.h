// The messages of FetchTensors.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc/fetch_producers.h"
#include "storage/engine/model_store.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// Blocks on storage. An error of `check_alive`, which is called often, ends the work.
// Errors: as OpenSelections (tensor_selection.h); OUT_OF_RANGE (`OFFSET_PAST_END`), where the
// stream is to be resumed behind its end.
absl::StatusOr<std::unique_ptr<TensorsProducer>> OpenTensors(
    ModelStore& store, const v1::FetchTensorsRequest& request,
    const std::function<absl::Status()>& check_alive);

}  // namespace wdelta
