// Certificates made on the spot.
#pragma once

#include <string>

namespace wdelta::testing {

// In PEM; the key is new each time.
struct TestCertificate {
  std::string certificate;
  std::string key;
};

// Signs others, for a year.
TestCertificate NewAuthority(const std::string& name);

// Likewise, itself signed by `parent`.
TestCertificate NewIntermediate(const std::string& name, const TestCertificate& parent);

// For `localhost` and 127.0.0.1, as a server and as a client, signed by the authority.
TestCertificate NewCertificate(const std::string& name, const TestCertificate& authority);

}  // namespace wdelta::testing
