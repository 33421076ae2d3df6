// What the Hub's API tells of models: everything but the bytes of files.
#pragma once

#include "httplib.h"
#include "server/auth/identity.h"
#include "server/http/hub_models.h"
#include "server/http/hub_route.h"

namespace wdelta {

// All answer, with an error where there is nothing else. What `check_name` refuses is not there.
// Any thread may call it.
class HubPages {
 public:
  // Does not own it.
  explicit HubPages(HubModels* models) : models_(*models) {}

  void Info(const HubRoute& route, const NameCheck& check_name, httplib::Response& response);
  void Tree(const HubRoute& route, const httplib::Request& request, const NameCheck& check_name,
            httplib::Response& response);
  void Commits(const HubRoute& route, const NameCheck& check_name, httplib::Response& response);
  void Refs(const HubRoute& route, const NameCheck& check_name, httplib::Response& response);
  // `body` is the form or the JSON object with `paths` and `expand`. A path that is named
  // several times is told once. INVALID_ARGUMENT (`TOO_MANY_PATHS`): more than
  // kMaxPathsInfo.
  void PathsInfo(const HubRoute& route, const httplib::Request& request, const std::string& body,
                 const NameCheck& check_name, httplib::Response& response);
  // `caller` null: nobody in particular.
  static void WhoAmI(const Identity* caller, httplib::Response& response);

 private:
  HubModels& models_;
};

}  // namespace wdelta
