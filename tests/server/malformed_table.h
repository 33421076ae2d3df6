// Tables of malformed requests: each is answered by its code and reason and a message that
// names what is wrong, and harms nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {

struct MalformedCase {
  std::string label;
  std::function<grpc::Status()> call;
  std::string code_and_reason;     // as CodeAndReason gives it
  std::vector<std::string> words;  // all in the message: the field, what was expected, what found
};

// A server with a READY model `good` and its fine-tune `tuned`, that checks at its end that
// it still serves `good` and holds nothing of what was refused.
class MalformedInputTest : public ::testing::Test {
 protected:
  MalformedInputTest();
  void TearDown() override;

  // Fails the test for each case that is answered otherwise. At least `min_cases`, all with
  // labels of their own.
  static void Run(const std::vector<MalformedCase>& cases, size_t min_cases);

  // A call of a stub's method to its end.
  template <typename Stub, typename Request, typename Response>
  static grpc::Status Call(Stub& stub,
                           grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                        Response*),
                           const Request& request) {
    grpc::ClientContext context;
    Response response;
    return (stub.*method)(&context, request, &response);
  }

  // An upload that is written whole and refused when it is finished, then cancelled.
  grpc::Status FinishOf(const TestFiles& files, v1::UploadKind kind = v1::CHECKPOINT);
  // An open upload with these entries; cancelled at the end of the test.
  std::string OpenUpload(const TestFiles& files);

  const TestFiles good_ = SmallCheckpoint(1);
  TestServer server_;
  std::vector<std::string> open_uploads_;
  int next_name_ = 0;
};

}  // namespace wdelta::testing
