// What the servers tell of calls and bytes, and databases of themselves. Any thread.
#pragma once

#include <string>

#include "server/http/http_stats.h"
#include "server/operations/metric_writer.h"
#include "server/rpc/rpc_environment.h"
#include "storage/blobs/database_stats.h"

namespace wdelta {

void CollectRpc(RpcEnvironment& environment, MetricWriter& writer);
void CollectHttp(const HttpStats& stats, MetricWriter& writer);
// `name` is a word that stays the same.
void CollectDatabase(const std::string& name, const DatabaseStats& stats, MetricWriter& writer);

}  // namespace wdelta
