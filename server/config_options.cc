// The table of options and the parsing of their values.
#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/config.h"
#include "server/http/http_limits.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr uint64_t kMinMemoryLimitBytes = 128 * limits::kMiB;

absl::Status Expected(absl::string_view what, const std::string& found) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", what, ", found '", found, "'"));
}

template <typename Int>
absl::Status SetInt(const std::string& text, Int min, Int max, Int& out) {
  Int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < min || value > max) {
    return Expected(absl::StrCat("a number from ", min, " to ", max), text);
  }
  out = value;
  return absl::OkStatus();
}

absl::Status SetReal(const std::string& text, double min, double max, double& out) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !(value >= min) || !(value <= max)) {
    return Expected(absl::StrCat("a number from ", min, " to ", max), text);
  }
  out = value;
  return absl::OkStatus();
}

absl::Status SetBytes(const std::string& text, uint64_t min, uint64_t& out) {
  constexpr absl::string_view kWhat = "bytes with an optional suffix KiB, MiB, GiB or TiB";
  absl::string_view digits = text;
  uint64_t unit = 1;
  if (absl::ConsumeSuffix(&digits, "KiB"))
    unit = limits::kKiB;
  else if (absl::ConsumeSuffix(&digits, "MiB"))
    unit = limits::kMiB;
  else if (absl::ConsumeSuffix(&digits, "GiB"))
    unit = limits::kGiB;
  else if (absl::ConsumeSuffix(&digits, "TiB"))
    unit = 1024 * limits::kGiB;
  uint64_t count = 0;
  if (!absl::SimpleAtoi(digits, &count) || count > std::numeric_limits<uint64_t>::max() / unit) {
    return Expected(kWhat, text);
  }
  if (count * unit < min) {
    return Expected(absl::StrCat("at least ", min / limits::kMiB, "MiB"), text);
  }
  out = count * unit;
  return absl::OkStatus();
}

absl::Status CheckAddress(absl::string_view address) {
  if (absl::ConsumePrefix(&address, "unix:")) {
    return address.empty() ? Expected("unix:/path", "unix:") : absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  const bool is_address = colon != absl::string_view::npos && colon > 0 &&
                          absl::SimpleAtoi(address.substr(colon + 1), &port) && port <= 65535;
  return is_address ? absl::OkStatus() : Expected("HOST:PORT or unix:/path", std::string(address));
}

absl::Status SetListen(const std::string& text, std::vector<std::string>& out) {
  std::vector<std::string> addresses;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::string_view address = absl::StripAsciiWhitespace(part);
    WDELTA_RETURN_IF_ERROR(CheckAddress(address));
    addresses.emplace_back(address);
  }
  out = std::move(addresses);
  return absl::OkStatus();
}

absl::Status SetHttpListen(const std::string& text, std::string& out) {
  if (absl::StartsWith(text, "unix:")) return Expected("HOST:PORT", text);
  if (!text.empty()) WDELTA_RETURN_IF_ERROR(CheckAddress(text));
  out = text;
  return absl::OkStatus();
}

absl::Status SetLogLevel(const std::string& text, std::string& out) {
  constexpr const char* kLevels[] = {"debug", "info", "warn", "error"};
  if (std::find(std::begin(kLevels), std::end(kLevels), text) == std::end(kLevels)) {
    return Expected(absl::StrJoin(kLevels, ", "), text);
  }
  out = text;
  return absl::OkStatus();
}

absl::Status SetLogFormat(const std::string& text, LogFormat& out) {
  if (text != "text" && text != "json") return Expected("text or json", text);
  out = text == "json" ? LogFormat::kJson : LogFormat::kText;
  return absl::OkStatus();
}

absl::Status SetBool(const std::string& text, bool& out) {
  if (text != "true" && text != "false") return Expected("true or false", text);
  out = text == "true";
  return absl::OkStatus();
}

// `off_word` stands for zero.
absl::Status SetInterval(const std::string& text, absl::string_view off_word, absl::Duration min,
                         absl::Duration max, absl::Duration& out) {
  absl::Duration value;
  if (text != off_word) {
    if (!absl::ParseDuration(text, &value) || value < min || value > max) {
      return Expected(absl::StrCat(off_word, ", or a duration from ", absl::FormatDuration(min),
                                   " to ", absl::FormatDuration(max)),
                      text);
    }
  }
  out = value;
  return absl::OkStatus();
}

// What may be anything.
absl::Status SetText(const std::string& text, std::string& out) {
  out = text;
  return absl::OkStatus();
}

}  // namespace

std::vector<Option> ConfigOptions() {
  using Text = const std::string&;
  const std::string cores = absl::StrCat(std::max(1u, std::thread::hardware_concurrency()));
  return {
      {"data_dir", "DIR", "", "Where everything is kept; made when absent. Required",
       [](Config& c, Text t) { return SetText(t, c.data_dir); }},
      {"listen", "ADDRESS,...", "localhost:50051",
       "Addresses to serve on: HOST:PORT (port 0: any free one) or unix:/path",
       [](Config& c, Text t) { return SetListen(t, c.listen); }},
      {"http_listen", "HOST:PORT", "",
       "Where to serve the Hugging Face Hub's protocol over HTTP (HF_ENDPOINT=http://HOST:PORT); "
       "empty: nowhere",
       [](Config& c, Text t) { return SetHttpListen(t, c.http_listen); }},
      {"http_max_connections", "N", absl::StrCat(http_limits::kDefaultMaxConnections),
       "HTTP connections that are served at once, each by a thread; more wait. Downloads take "
       "at most half of them, and count as fetches too",
       [](Config& c, Text t) { return SetInt(t, 1, 10'000, c.http_max_connections); }},
      {"operations_listen", "HOST:PORT", "",
       "Where to serve /metrics (Prometheus), /livez and /readyz over HTTP, without "
       "authentication; empty: nowhere",
       [](Config& c, Text t) { return SetHttpListen(t, c.operations_listen); }},
      {"address_file", "FILE", "",
       "Written once serving: the bound addresses, one a line, that of HTTP last as http://… or "
       "https://…; behind it that of operations as operations http://…",
       [](Config& c, Text t) { return SetText(t, c.address_file); }},
      {"workers", "N", "2", "Threads that run jobs, such as compressing a model",
       [](Config& c, Text t) { return SetInt(t, 1, 64, c.workers); }},
      {"codec_threads", "N", cores, "Threads that encode and decode, for all jobs and fetches",
       [](Config& c, Text t) { return SetInt(t, 1, 1024, c.codec_threads); }},
      {"max_open_uploads", "N", absl::StrCat(limits::kDefaultMaxOpenUploads),
       "Uploads that may be open at once",
       [](Config& c, Text t) { return SetInt<uint64_t>(t, 1, 1'000'000, c.max_open_uploads); }},
      {"max_fetches", "N", absl::StrCat(limits::kDefaultMaxFetches),
       "Fetches that may run at once; each decodes a window of pieces ahead. More wait for a while",
       [](Config& c, Text t) { return SetInt(t, 1, 10'000, c.max_fetches); }},
      {"memory_limit", "BYTES", "1GiB",
       "Memory to plan for, e.g. 512MiB. Sizes the caches and write buffers of the databases, "
       "about a seventh of it, and the cache of decoded chunks, about a fifth; lowers "
       "max_fetches so that the windows of all fetches together stay below three eighths; and "
       "bounds how many fetches wait, how many streams of uploads run and wait, and what each of "
       "these may send ahead: a seventh for all, which over a distant network bounds the rate of "
       "one",
       [](Config& c, Text t) { return SetBytes(t, kMinMemoryLimitBytes, c.memory_limit_bytes); }},
      {"max_chain_depth", "N", absl::StrCat(limits::kDefaultMaxChainDepth),
       "Models that a model's storage chain may have below it; 0: all are stored alone. "
       "Concerns models that are stored from now on",
       [](Config& c, Text t) {
         return SetInt<uint32_t>(t, 0, limits::kMaxStorageDepth, c.max_chain_depth);
       }},
      {"max_fetch_cost", "RATIO", absl::StrCat(limits::kDefaultMaxFetchCost),
       "Bytes that a fetch may decode for each byte that it serves, the chain included; likewise",
       [](Config& c, Text t) {
         return SetReal(t, limits::kMinFetchCost, limits::kMaxFetchCost, c.max_fetch_cost);
       }},
      {"gc_interval", "DURATION", "1h",
       "Time between garbage collections that start by themselves, such as 30m or 12h; off: none",
       [](Config& c, Text t) {
         return SetInterval(t, "off", absl::Minutes(1), absl::Hours(30 * 24), c.gc_interval);
       }},
      {"upload_ttl", "DURATION", "168h",
       "Time without activity after which an open upload is cancelled and its space freed, such "
       "as 36h; 0: never",
       [](Config& c, Text t) {
         return SetInterval(t, "0", absl::Seconds(1), absl::Hours(10 * 365 * 24), c.upload_ttl);
       }},
      {"min_free_bytes", "BYTES", absl::StrCat(limits::kDefaultMinFreeBytes / limits::kMiB, "MiB"),
       "Free disk space below which uploads and jobs wait while fetches go on, until a quarter "
       "more is free",
       [](Config& c, Text t) { return SetBytes(t, 0, c.min_free_bytes); }},
      {"accept_lost_writes", "BOOL", "false",
       "true: start, with an error in the log, although a damaged log of the catalog or the blobs "
       "has lost writes that were acknowledged; the start is refused otherwise. For one start: "
       "without it again from the next one on",
       [](Config& c, Text t) { return SetBool(t, c.accept_lost_writes); }},
      {"tokens_file", "FILE", "",
       "YAML file of the tokens that callers need, gRPC and HTTP alike; `wdelta token` makes its "
       "entries. Read again when it changes; empty: nobody needs a token",
       [](Config& c, Text t) { return SetText(t, c.tokens_file); }},
      {"tls_certificate", "FILE", "",
       "Certificate chain in PEM for TLS on all gRPC addresses but Unix sockets; with tls_key, and "
       "read again when it changes: replace both together, by a rename of their folder or of a "
       "link to it. Other ports have certificates of their own, which may lie in the same files",
       [](Config& c, Text t) { return SetText(t, c.tls_certificate); }},
      {"tls_key", "FILE", "", "Private key of tls_certificate in PEM",
       [](Config& c, Text t) { return SetText(t, c.tls_key); }},
      {"tls_client_ca", "FILE", "",
       "Certificates in PEM that those of clients must be signed by; empty: clients need none",
       [](Config& c, Text t) { return SetText(t, c.tls_client_ca); }},
      {"http_tls_certificate", "FILE", "",
       "Certificate chain in PEM for TLS on http_listen, read again when it changes; empty: plain "
       "HTTP",
       [](Config& c, Text t) { return SetText(t, c.http_tls_certificate); }},
      {"http_tls_key", "FILE", "", "Private key of http_tls_certificate in PEM",
       [](Config& c, Text t) { return SetText(t, c.http_tls_key); }},
      {"http_tls_client_ca", "FILE", "",
       "Certificates in PEM that those of clients of http_listen must be signed by, read again "
       "when "
       "it changes; empty: clients need none",
       [](Config& c, Text t) { return SetText(t, c.http_tls_client_ca); }},
      {"operations_tls_certificate", "FILE", "", "Likewise for TLS on operations_listen",
       [](Config& c, Text t) { return SetText(t, c.operations_tls_certificate); }},
      {"operations_tls_key", "FILE", "", "Private key of operations_tls_certificate in PEM",
       [](Config& c, Text t) { return SetText(t, c.operations_tls_key); }},
      {"operations_tls_client_ca", "FILE", "",
       "Likewise of operations_listen; a kubelet's probes show no certificate",
       [](Config& c, Text t) { return SetText(t, c.operations_tls_client_ca); }},
      {"log_level", "LEVEL", "info", "debug, info, warn or error; debug has a line for every rpc",
       [](Config& c, Text t) { return SetLogLevel(t, c.log_level); }},
      {"log_format", "FORMAT", "text", "text or json, on stderr",
       [](Config& c, Text t) { return SetLogFormat(t, c.log_format); }},
      {"drain_grace_ms", "MS", "10000",
       "After SIGTERM: how long running calls may go on before they are cancelled",
       [](Config& c, Text t) { return SetInt<int64_t>(t, 0, 3'600'000, c.drain_grace_ms); }},
  };
}

}  // namespace wdelta
