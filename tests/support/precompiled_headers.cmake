# Headers of others that most files include, parsed once for all of them: a fifth to a quarter of
# the CPU time of a build with sanitizers. The release build goes without, so that a file that
# forgets an include fails there.
#
# clang accepts a precompiled header only where language options are the same: hence -pthread and
# -fPIC for all, and one set of headers for the product, which fuzzers count, and another for
# the tests.
set(WDELTA_PRECOMPILED_FLAGS -pthread -fPIC -Xclang -fno-pch-timestamp)

set(precompiled_headers
  <algorithm> <array> <atomic> <cmath> <cstdint> <cstring> <deque> <filesystem> <fstream>
  <functional> <iterator> <limits> <map> <memory> <optional> <set> <sstream> <string>
  <string_view> <thread> <utility> <vector>
  <absl/base/thread_annotations.h>
  <absl/container/flat_hash_map.h>
  <absl/container/flat_hash_set.h>
  <absl/status/status.h>
  <absl/status/statusor.h>
  <absl/strings/ascii.h>
  <absl/strings/escaping.h>
  <absl/strings/match.h>
  <absl/strings/numbers.h>
  <absl/strings/str_cat.h>
  <absl/strings/str_format.h>
  <absl/strings/str_join.h>
  <absl/strings/str_split.h>
  <absl/synchronization/mutex.h>
  <absl/time/clock.h>
  <absl/time/time.h>
  <absl/types/span.h>
  <google/rpc/error_info.pb.h>
  <store/v1/records.pb.h>
  <wdelta/v1/admin.pb.h>
  <wdelta/v1/compare.pb.h>
  <wdelta/v1/fetch.pb.h>
  <wdelta/v1/jobs.pb.h>
  <wdelta/v1/lineage.pb.h>
  <wdelta/v1/maintenance.pb.h>
  <wdelta/v1/merge.pb.h>
  <wdelta/v1/models.pb.h>
  <wdelta/v1/scrub.pb.h>
  <wdelta/v1/storage.pb.h>
  <wdelta/v1/uploads.pb.h>)

# wdelta_precompiled_headers(NAME [LIBRARIES library…] [HEADERS header…]): a set of the headers
# above and of those given. PCH of CMake belong to a target that has a source.
function(wdelta_precompiled_headers name)
  cmake_parse_arguments(ARG "" "" "LIBRARIES;HEADERS" ${ARGN})
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE wdelta_flags
    absl::flat_hash_map absl::status absl::statusor absl::str_format absl::synchronization
    CLI11::CLI11 gRPC::grpc++ nlohmann_json::nlohmann_json PkgConfig::HTTPLIB
    wdelta_api_proto wdelta_error_proto wdelta_store_proto ${ARG_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${precompiled_headers} ${ARG_HEADERS})
endfunction()
