// Who sends a request to the Hub's routes, and whether they may.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "httplib.h"
#include "server/auth/authenticator.h"
#include "server/auth/link_signer.h"
#include "server/http/hub_requests.h"
#include "server/http/hub_route.h"
#include "spdlog/logger.h"
#include "storage/base/clock.h"
#include "storage/engine/records/name_check.h"

namespace wdelta {

// Of one request; one thread at a time.
struct HubCaller {
  // OK: the caller may name this repository. PERMISSION_DENIED (`NAME_NOT_ALLOWED`).
  absl::Status MayName(absl::string_view repo) const;
  // For what a route leads to. May outlive the request.
  NameCheck name_check() const;

  IdentityPtr identity;  // null: no token is asked for
  std::string subject;   // what is written to, for the audit log; empty: the route's repository
};

// Without an authenticator anybody may do anything, as every token may. Any thread.
class HubAccess {
 public:
  // Owns neither; both must outlive it. `authenticator` null: no token is asked for.
  HubAccess(const Authenticator* authenticator, const LinkSigner& signer, const Clock* clock)
      : authenticator_(authenticator), signer_(signer), clock_(*clock) {}

  // Of the `Authorization` of the request; of an object that is sent, of the signature of its
  // link, as clients send it without a token: the caller is who was given the link, as long as
  // the file of tokens has that token and it may do this. Health, telemetry and what is not there
  // need none. UNAUTHENTICATED (`TOKEN_MISSING`, `TOKEN_UNKNOWN`); PERMISSION_DENIED
  // (`SCOPE_MISSING`, `NAME_NOT_ALLOWED`, `BAD_SIGNATURE`, `LINK_EXPIRED`). `caller` tells who it
  // is also after a refusal, as soon as the token or the signature has proved it.
  absl::Status Check(const HubRoute& route, const httplib::Request& request,
                     HubCaller& caller) const;

  // The query of the link by which `caller` may send an object; holds for kSignedLinkSeconds,
  // unless the token that came with the request is taken away, or replaced by another of its
  // name, before that.
  std::string ObjectQuery(const HubCaller& caller, const std::string& repo,
                          const ContentName& content) const;

  // A line in the audit log, if the route is one that changes something.
  static void Audit(spdlog::logger& log, const HubRoute& route, const HubCaller& caller,
                    const httplib::Request& request, const httplib::Response& response);

 private:
  absl::Status CheckLink(const HubRoute& route, HubCaller& caller) const;

  const Authenticator* const authenticator_;
  const LinkSigner signer_;
  const Clock& clock_;
};

}  // namespace wdelta
