// Repositories and their tags are made and changed, as clients of the Hub ask for it.
#pragma once

#include <string>

#include "httplib.h"
#include "server/http/hub_access.h"
#include "server/http/hub_models.h"
#include "server/http/hub_route.h"
#include "storage/engine/model_store.h"

namespace wdelta {

// All answer, with an error where there is nothing else. Any thread may call it.
//
// There is one branch, `main`: making another is refused.
class HubRepoPages {
 public:
  // Owns none of them; both must outlive it.
  HubRepoPages(ModelStore* store, HubModels* models) : models_(store->models()), repos_(*models) {}

  // Takes what makes a repository, or makes or deletes a tag or a branch; false: it is
  // something else.
  bool Serve(const HubRoute& route, const httplib::Request& request,
             const httplib::ContentReader& reader, HubCaller& caller, httplib::Response& response);

 private:
  // The repository comes in the body.
  absl::Status CreateRepo(const httplib::Request& request, const httplib::ContentReader& reader,
                          HubCaller& caller, httplib::Response& response);
  // The tag comes in the body, and the target names the revision that it is given.
  absl::Status CreateTag(const HubRoute& route, const HubCaller& caller, const std::string& author,
                         const httplib::ContentReader& reader, httplib::Response& response);
  absl::Status DeleteTag(const HubRoute& route, const std::string& author,
                         httplib::Response& response);
  absl::Status CreateBranch(const HubRoute& route, const httplib::ContentReader& reader);

  Models& models_;
  HubModels& repos_;
};

}  // namespace wdelta
