// Files of models over HTTP: HEAD and GET of `/{repo}/resolve/{rev}/{path}`.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "httplib.h"
#include "server/http/hub_models.h"
#include "server/http/hub_route.h"
#include "server/rpc/admission.h"
#include "server/rpc/admission_queue.h"
#include "spdlog/logger.h"

namespace wdelta {

// Bytes come from the engine's cursor, as those of a fetch over gRPC do: a window of
// pieces at a time, whatever the file's size. Any thread may call it.
class HubFiles {
 public:
  // A GET holds a slot of both queues while it runs, that of `downloads` first: its limit is the
  // lower one, so that slow GETs leave the rest of the fetches to gRPC. Up to `max_waiting` wait
  // for a slot of either, each in its connection's thread, for kMaxFetchWaitMs at most; what comes
  // beyond them is refused with the queue's error.
  struct Places {
    AdmissionQueue* fetches = nullptr;
    AdmissionQueue* downloads = nullptr;
    int max_waiting = 0;
  };
  // Owns none of them; all must outlive it.
  HubFiles(ModelStore* store, HubModels* models, const Places& places, spdlog::logger* log)
      : store_(*store),
        models_(*models),
        fetches_(*places.fetches),
        downloads_(*places.downloads),
        waiting_(places.max_waiting),
        log_(*log) {}

  void Serve(const HubRoute& route, const httplib::Request& request, const NameCheck& check_name,
             httplib::Response& response);

 private:
  absl::Status Answer(const HubRoute& route, const httplib::Request& request,
                      const NameCheck& check_name, httplib::Response& response);
  absl::Status StartBody(const Model& model, const store::v1::FileRecord& file, uint64_t offset,
                         uint64_t size, httplib::Response& response);
  // Waits until `end` if it may wait.
  absl::StatusOr<AdmissionQueue::Slot> PlaceOf(AdmissionQueue& queue, absl::Time end);

  ModelStore& store_;
  HubModels& models_;
  AdmissionQueue& fetches_;
  AdmissionQueue& downloads_;
  Admission waiting_;  // threads
  spdlog::logger& log_;
};

}  // namespace wdelta
