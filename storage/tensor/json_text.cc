#include "storage/tensor/json_text.h"

#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "storage/base/utf8.h"

namespace wdelta {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxExcerptBytes = 96;

// The cause in an exception of nlohmann::json, without its code and without the
// text read so far, which may be long or not UTF-8.
std::string CauseOf(const std::exception& error) {
  absl::string_view cause = error.what();
  cause = cause.substr(0, cause.find("; last read: '"));
  if (const size_t code_end = cause.find("] "); code_end != absl::string_view::npos) {
    cause.remove_prefix(code_end + 2);
  }
  // "parse error at line L, column C: " repeats the position.
  if (const size_t place_end = cause.find(": ");
      place_end != absl::string_view::npos && cause.substr(0, 11) == "parse error") {
    cause.remove_prefix(place_end + 2);
  }
  return absl::CHexEscape(cause.substr(0, 200));
}

// Hands the library's events to a visitor.
class SaxAdapter final : public Json::json_sax_t {
 public:
  explicit SaxAdapter(JsonVisitor& visitor) : visitor_(visitor) {}
  const absl::Status& status() const { return status_; }

  bool null() override { return Scalar(JsonScalar::Kind::kNull, 0, "null"); }
  bool boolean(bool value) override {
    return Scalar(JsonScalar::Kind::kBool, 0, value ? "true" : "false");
  }
  bool number_integer(Json::number_integer_t value) override {
    return Scalar(JsonScalar::Kind::kOtherNumber, 0, absl::StrCat(value));
  }
  bool number_unsigned(Json::number_unsigned_t value) override {
    return Scalar(JsonScalar::Kind::kUnsigned, value, absl::StrCat(value));
  }
  bool number_float(Json::number_float_t, const std::string& text) override {
    return Scalar(JsonScalar::Kind::kOtherNumber, 0, text);
  }
  bool string(std::string& value) override {
    return Scalar(JsonScalar::Kind::kString, 0, std::move(value));
  }
  bool binary(Json::binary_t&) override { return Keep(absl::InternalError("binary JSON")); }
  bool start_object(size_t) override { return Enter() && Keep(visitor_.OnStartObject()); }
  bool key(std::string& key) override { return Keep(visitor_.OnKey(std::move(key))); }
  bool end_object() override { return Leave() && Keep(visitor_.OnEndObject()); }
  bool start_array(size_t) override { return Enter() && Keep(visitor_.OnStartArray()); }
  bool end_array() override { return Leave() && Keep(visitor_.OnEndArray()); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    return Keep(absl::InvalidArgumentError(
        absl::StrCat("expected JSON, found at byte ", position, ": ", CauseOf(error))));
  }

 private:
  bool Scalar(JsonScalar::Kind kind, uint64_t number, std::string text) {
    return Keep(visitor_.OnScalar({kind, number, std::move(text)}));
  }
  bool Enter() {
    if (++depth_ <= limits::kMaxJsonDepth) return true;
    return Keep(absl::InvalidArgumentError(absl::StrCat(
        "expected JSON nested at most ", limits::kMaxJsonDepth, " deep, found ", depth_)));
  }
  bool Leave() {
    --depth_;
    return true;
  }
  bool Keep(absl::Status status) {
    status_ = std::move(status);
    return status_.ok();
  }

  JsonVisitor& visitor_;
  int depth_ = 0;
  absl::Status status_;
};

}  // namespace

absl::Status VisitJson(absl::string_view json, JsonVisitor& visitor) {
  // The library takes a NUL for the end of the text and skips a byte order mark.
  if (const size_t nul = json.find('\0'); nul != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected JSON, found at byte ", nul + 1, ": a zero byte"));
  }
  if (json.substr(0, 3) == "\xef\xbb\xbf") {
    return absl::InvalidArgumentError("expected JSON, found at byte 1: a byte order mark");
  }
  SaxAdapter adapter(visitor);
  try {
    const bool parsed = Json::sax_parse(json.begin(), json.end(), &adapter);
    if (!parsed && adapter.status().ok()) return absl::InternalError("JSON: parser stopped");
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("expected JSON, found: ", CauseOf(error)));
  }
  return adapter.status();
}

absl::StatusOr<std::string> QuoteJson(absl::string_view text) {
  try {
    return Json(std::string(text)).dump();
  } catch (const Json::exception&) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected UTF-8, found '", absl::CHexEscape(text.substr(0, kMaxExcerptBytes)), "'"));
  }
}

std::string Excerpt(absl::string_view text) {
  const bool is_cut = text.size() > kMaxExcerptBytes;
  size_t size = is_cut ? kMaxExcerptBytes : text.size();
  // Not within a character.
  while (is_cut && size > 0 && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) --size;
  const absl::string_view head = text.substr(0, size);
  return absl::StrCat("'",
                      IsValidUtf8(head) ? absl::Utf8SafeCHexEscape(head) : absl::CHexEscape(head),
                      is_cut ? "...'" : "'");
}

}  // namespace wdelta
