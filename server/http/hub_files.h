// Files of models over HTTP: HEAD and GET of `/{repo}/resolve/{rev}/{path}`.
#pragma once

#include <algorithm>

#include "httplib.h"
#include "server/http/hub_models.h"
#include "server/http/hub_route.h"
#include "server/rpc/admission_queue.h"
#include "spdlog/logger.h"

namespace wdelta {

// Bytes come from the engine's cursor, as those of a fetch over gRPC do: a window of
// pieces at a time, whatever the file's size. Any thread may call it.
class HubFiles {
 public:
  // Owns none of them; all must outlive it. A GET holds a slot of `fetches` while it runs, and all
  // GETs hold or wait for at most half of them, so that slow ones leave the rest to gRPC. Up to
  // `max_waiting` more wait until GETs end. Each waits in its connection's thread, for
  // kMaxFetchWaitMs at most.
  HubFiles(ModelStore* store, HubModels* models, AdmissionQueue* fetches, int max_waiting,
           spdlog::logger* log)
      : store_(*store),
        models_(*models),
        fetches_(*fetches),
        downloads_({.limit = std::max(1, fetches->limit() / 2),
                    .max_waiting = max_waiting,
                    .reason = "TOO_MANY_FETCHES",
                    .things = "downloads"}),
        log_(*log) {}

  void Serve(const HubRoute& route, const httplib::Request& request, const NameCheck& check_name,
             httplib::Response& response);

 private:
  absl::Status Answer(const HubRoute& route, const httplib::Request& request,
                      const NameCheck& check_name, httplib::Response& response);
  absl::Status StartBody(const Model& model, const store::v1::FileRecord& file, uint64_t offset,
                         uint64_t size, httplib::Response& response);

  ModelStore& store_;
  HubModels& models_;
  AdmissionQueue& fetches_;
  AdmissionQueue downloads_;
  spdlog::logger& log_;
};

}  // namespace wdelta
