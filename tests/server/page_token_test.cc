#include "server/rpc/page_token.h"

#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {
namespace {

TEST(PageToken, GivesThePositionBack) {
  const std::string position("a/\0\xff", 4);
  const std::string token = EncodePageToken("filters", position);
  const auto decoded = DecodePageToken("filters", token);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, position);
}

TEST(PageToken, EmptyMeansStartAndEnd) {
  EXPECT_EQ(EncodePageToken("filters", ""), "");
  EXPECT_EQ(DecodePageToken("filters", "").value(), "");
}

TEST(PageToken, RefusesOtherFilters) {
  const auto decoded = DecodePageToken("others", EncodePageToken("filters", "x"));
  EXPECT_TRUE(absl::IsInvalidArgument(decoded.status()));
  EXPECT_EQ(ErrorReason(decoded.status()), "BAD_PAGE_TOKEN");
}

TEST(PageToken, RefusesEveryChangedCharacter) {
  const std::string token = EncodePageToken("filters", "position");
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const auto decoded = DecodePageToken("filters", changed);
    EXPECT_EQ(ErrorReason(decoded.status()), "BAD_PAGE_TOKEN") << "character " << i;
    EXPECT_EQ(ErrorReason(DecodePageToken("filters", token.substr(0, i == 0 ? 1 : i)).status()),
              "BAD_PAGE_TOKEN");
  }
  EXPECT_EQ(ErrorReason(DecodePageToken("filters", "!!").status()), "BAD_PAGE_TOKEN");
}

TEST(PageToken, FiltersAreAllButPageSizeAndToken) {
  v1::ListModelsRequest request;
  for (const char* key : {"a", "b", "c", "d"}) (*request.mutable_labels())[key] = key;
  v1::ListModelsRequest same;
  for (const char* key : {"d", "c", "b", "a"}) (*same.mutable_labels())[key] = key;
  same.set_page_size(7);
  same.set_page_token("x");
  EXPECT_EQ(FiltersOf(request), FiltersOf(same));
  same.set_name_pattern("*");
  EXPECT_NE(FiltersOf(request), FiltersOf(same));
  EXPECT_NE(FiltersOf(v1::ListModelsRequest()), FiltersOf(v1::ListTagsRequest()));
}

}  // namespace
}  // namespace wdelta
