#include "server/auth/link_signer.h"

#include <string>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

TEST(LinkSigner, KnowsItsOwnAndNoOther) {
  const LinkSigner signer = *LinkSigner::Create();
  const std::string signature = signer.Sign("repo\noid\n12");
  EXPECT_EQ(signature.size(), 64u);
  EXPECT_TRUE(signer.Verify("repo\noid\n12", signature));
  EXPECT_FALSE(signer.Verify("repo\noid\n13", signature));
  EXPECT_FALSE(signer.Verify("repo\noid\n12", ""));
  EXPECT_FALSE(signer.Verify("repo\noid\n12", signature.substr(1)));
  for (size_t i = 0; i < signature.size(); ++i) {
    std::string changed = signature;
    changed[i] = changed[i] == '0' ? '1' : '0';
    EXPECT_FALSE(signer.Verify("repo\noid\n12", changed)) << i;
  }
  EXPECT_FALSE(LinkSigner::Create()->Verify("repo\noid\n12", signature));
}

}  // namespace
}  // namespace wdelta
