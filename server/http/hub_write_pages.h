// The Hub's upload protocol: content is sent by its SHA-256, a commit makes a version of it.
#pragma once

#include "httplib.h"
#include "server/http/hub_access.h"
#include "server/http/hub_objects.h"
#include "server/http/hub_route.h"
#include "server/http/hub_upload.h"
#include "server/rpc/admission.h"
#include "storage/engine/model_store.h"

namespace wdelta {

// All answer, with an error where there is nothing else. Any thread may call it.
class HubWritePages {
 public:
  // Owns none of them; all must outlive it. `access` signs links. At most `max_uploads` requests
  // send content at once: further ones are answered with 503 (`TOO_MANY_UPLOADS`).
  HubWritePages(ModelStore* store, HubModels* models, HubObjects* objects, const HubAccess* access,
                int max_uploads)
      : objects_(*objects),
        access_(*access),
        upload_(store, models, objects),
        uploads_(max_uploads) {}

  // Ends commits that run; see HubUpload.
  void Stop() { upload_.Stop(); }

  // Takes what is a POST or PUT of the upload protocol; false: it is not.
  bool Serve(const HubRoute& route, const httplib::Request& request,
             const httplib::ContentReader& reader, const HubCaller& caller,
             httplib::Response& response);

 private:
  using Request = httplib::Request;
  using Response = httplib::Response;
  using ContentReader = httplib::ContentReader;

  absl::Status Preupload(const HubRoute& route, const ContentReader& reader, Response& response);
  absl::Status LfsBatch(const HubRoute& route, const Request& request, const ContentReader& reader,
                        const HubCaller& caller, Response& response);
  absl::Status PutObject(const HubRoute& route, const ContentReader& reader, Response& response);
  absl::Status VerifyObject(const HubRoute& route, const ContentReader& reader, Response& response);
  absl::Status Commit(const HubRoute& route, const Request& request, const ContentReader& reader,
                      Response& response);

  absl::StatusOr<Admission::Slot> EnterUpload();

  HubObjects& objects_;
  const HubAccess& access_;
  HubUpload upload_;
  Admission uploads_;
};

}  // namespace wdelta
