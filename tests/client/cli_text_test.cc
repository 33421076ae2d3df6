#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/arguments.h"
#include "client/cli/json_output.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

TEST(TextTest, Bytes) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 KiB");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(HumanBytes(uint64_t{5} << 30), "5.0 GiB");
  EXPECT_EQ(HumanBytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(TextTest, RatiosCountsAndTimes) {
  EXPECT_EQ(HumanRatio(100, 0), "-");
  EXPECT_EQ(HumanRatio(321, 100), "3.21x");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(1'240'000), "1.24M");
  EXPECT_EQ(HumanCount(999'999), "1.00M");
  EXPECT_EQ(HumanDuration(absl::Seconds(67)), "1:07");
  EXPECT_EQ(HumanDuration(absl::Seconds(3723)), "1:02:03");
  google::protobuf::Timestamp time;
  EXPECT_EQ(HumanTime(time, absl::UTCTimeZone()), "");
  time.set_seconds(86400);
  EXPECT_EQ(HumanTime(time, absl::UTCTimeZone()), "1970-01-02 00:00");
  time.set_seconds(86407);
  EXPECT_EQ(HumanTimeWithSeconds(time, absl::UTCTimeZone()), "1970-01-02 00:00:07");
  EXPECT_EQ(HumanTimeWithSeconds({}, absl::UTCTimeZone()), "");
}

TEST(TextTest, ShortIdsKeepTheRandomPart) {
  EXPECT_EQ(ShortId("01jd7t0000abcdefghjkmnpqrs"), "jkmnpqrs");
  EXPECT_EQ(ShortId("abc"), "abc");
}

TEST(TextTest, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[2J\nb\x7f"), "a?[2J?b?");
  EXPECT_EQ(Printable("\xc2\x9b"), "?");
  EXPECT_EQ(Printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
}

TEST(TextTest, ProgressLines) {
  const uint64_t gib = uint64_t{1} << 30;
  EXPECT_EQ(ProgressLine({.done_bytes = gib, .total_bytes = 2 * gib}, absl::Seconds(2)),
            "[##########..........]  50%  1.0 GiB / 2.0 GiB  512.0 MiB/s  ETA 0:02");
  EXPECT_EQ(ProgressLine({}, absl::ZeroDuration()), "[####################] 100%  0 B / 0 B");
  // Of how much is not known.
  EXPECT_EQ(ProgressLine({.done_bytes = gib}, absl::Seconds(2)), "1.0 GiB  512.0 MiB/s");
}

TEST(TableTest, Aligns) {
  Table table({{"NAME"}, {"SIZE", Align::kRight}, {"NOTE"}});
  table.AddRow({"a", "1 B", "x"});
  table.AddRow({"gr\xc3\xbcn", "10 KiB", ""});
  EXPECT_EQ(table.Render(),
            "NAME    SIZE  NOTE\n"
            "a        1 B  x\n"
            "gr\xc3\xbcn  10 KiB\n");
}

TEST(ArgumentsTest, KeyValues) {
  const auto map = ParseKeyValues({"a=1", "b=x=y", "c="});
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(*map, (std::map<std::string, std::string>{{"a", "1"}, {"b", "x=y"}, {"c", ""}}));
  for (const char* bad : {"a", "=1", ""}) EXPECT_FALSE(ParseKeyValues({bad}).ok()) << bad;
  EXPECT_FALSE(ParseKeyValues({"a=1", "a=2"}).ok());
}

TEST(ArgumentsTest, RelationsAndTags) {
  EXPECT_EQ(*ParseRelation("fine-tune"), v1::Parent::FINE_TUNE);
  EXPECT_EQ(*ParseRelation(""), v1::Parent::RELATION_UNSPECIFIED);
  EXPECT_FALSE(ParseRelation("cousin").ok());
  EXPECT_EQ(*ParseRelation("quantisation"), v1::Parent::QUANTIZATION);
  EXPECT_EQ(*ParseRelation("continued"), v1::Parent::CONTINUED_TRAINING);
  // What is printed is what is documented, and what is taken.
  std::vector<std::string> words;
  for (int i = v1::Parent::FINE_TUNE; i <= v1::Parent::OTHER; ++i) {
    const auto relation = static_cast<v1::Parent::Relation>(i);
    words.push_back(RelationWord(relation));
    EXPECT_EQ(*ParseRelation(words.back()), relation) << words.back();
    EXPECT_EQ(*ParseRelation(v1::Parent::Relation_Name(relation)), relation);
  }
  EXPECT_EQ(absl::StrJoin(words, ", "), kRelationWords);
  for (const char* old :
       {"fine_tune", "quantization", "Continued-Training", "continued_training"}) {
    EXPECT_TRUE(ParseRelation(old).ok()) << old;
  }
  EXPECT_FALSE(ParseRelation("relation-unspecified").ok());
  EXPECT_EQ(RelationWord(static_cast<v1::Parent::Relation>(99)), "unknown");
  EXPECT_EQ(ParseTagReference("ns/m@prod")->first, "ns/m");
  EXPECT_EQ(ParseTagReference("ns/m@prod")->second, "prod");
  for (const char* bad : {"m", "@prod", "m@"}) EXPECT_FALSE(ParseTagReference(bad).ok()) << bad;
}

TEST(ArgumentsTest, Parents) {
  const auto parse = [](absl::string_view text) -> std::string {
    const auto parent = ParseParent(text, v1::Parent::MERGE);
    if (!parent.ok()) return "error";
    const std::map<std::string, std::string> metadata(parent->metadata().begin(),
                                                      parent->metadata().end());
    std::string out = absl::StrCat(parent->model(), " ", RelationWord(parent->relation()));
    for (const auto& [key, value] : metadata) absl::StrAppend(&out, " ", key, "=", value);
    return out;
  };
  EXPECT_EQ(parse("base"), "base merge");
  EXPECT_EQ(parse("ns/base@prod:fine-tune"), "ns/base@prod fine-tune");
  EXPECT_EQ(parse("base,weight=0.5"), "base merge weight=0.5");
  EXPECT_EQ(parse("base:other,b=x=y,a="), "base other a= b=x=y");
  EXPECT_EQ(parse("sha256:0123abcd"), "sha256:0123abcd merge");
  EXPECT_EQ(parse("sha256:0123abcd:distillation"), "sha256:0123abcd distillation");
  EXPECT_EQ(parse("id:abc:quantisation,bits=4"), "id:abc quantisation bits=4");
  EXPECT_EQ(parse("base:merge,data=a\\,b\\,c,weight=1"), "base merge data=a,b,c weight=1");
  EXPECT_EQ(parse("base,path=C:\\x,end=y\\\\,z=1"), "base merge end=y\\ path=C:\\x z=1");
  const absl::Status bare = ParseParent("base:merge,data=a,b", v1::Parent::MERGE).status();
  EXPECT_EQ(
      bare.message(),
      "parent `base:merge,data=a,b`: expected KEY=VALUE behind each comma, found `b`; a comma "
      "within a value is written `\\,`");
  EXPECT_EQ(ParseParent("base,a=1,a=2", v1::Parent::MERGE).status().message(),
            "parent `base,a=1,a=2`: key `a` is given twice");
  for (const char* bad :
       {"base:", "base:cousin", "base:merge:merge", "base,weight", "base,=1", "base,a=1,a=2"}) {
    EXPECT_EQ(parse(bad), "error") << bad;
  }
}

TEST(JsonTest, IdsAreReferencesAndNumbersAreNumbers) {
  v1::Model model;
  model.set_id("abc");
  model.set_state(v1::Model::READY);
  model.set_raw_bytes(std::numeric_limits<uint64_t>::max());
  (*model.mutable_labels())["team"] = "nlp";
  const Json json = ModelJson(model);
  EXPECT_EQ(json["id"], "id:abc");
  EXPECT_EQ(json["state"], "ready");
  EXPECT_EQ(json["raw_bytes"].dump(), "18446744073709551615");
  EXPECT_EQ(json["labels"]["team"], "nlp");
  EXPECT_TRUE(json["ready_time"].is_null());
}

}  // namespace
}  // namespace wdelta
