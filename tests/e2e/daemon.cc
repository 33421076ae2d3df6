#include "tests/e2e/daemon.h"

#include <signal.h>

#include <fstream>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "grpcpp/support/sync_stream.h"
#include "gtest/gtest.h"

namespace wdelta::testing {
namespace {

constexpr absl::Duration kCallTimeout = absl::Seconds(60);

std::vector<std::string> DaemonArguments(const std::string& folder,
                                         const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {WDELTAD_FILE, "--data_dir=" + folder,
                                        "--address_file=" + folder + ".address"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return arguments;
}

std::vector<std::string> WithListen(std::vector<std::string> flags) {
  flags.push_back("--listen=127.0.0.1:0");
  return flags;
}

// HealthCheckRequest and HealthCheckResponse have the encoding of a wrapped string
// and of a wrapped number: the package with their own classes is not Debian's.
using HealthRequest = google::protobuf::StringValue;
using HealthResponse = google::protobuf::Int32Value;

std::string HealthWord(const HealthResponse& response) {
  constexpr const char* kWords[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return response.value() >= 0 && response.value() < 4 ? kWords[response.value()] : "?";
}

}  // namespace

CommandResult RunDaemon(const std::string& folder, const std::vector<std::string>& flags) {
  return RunCommand(DaemonArguments(folder, flags));
}

Daemon::Daemon(const std::string& folder, const std::vector<std::string>& flags)
    : process_(DaemonArguments(folder, WithListen(flags))) {
  if (!process_.ReadUntil(" serves ")) {
    ADD_FAILURE() << "the daemon ended before it served: " << process_.output();
    return;
  }
  std::getline(std::ifstream(folder + ".address"), address_);
}

std::shared_ptr<grpc::Channel> Daemon::NewChannel() const {
  grpc::ChannelArguments arguments;
  // Otherwise channels to one address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
}

CommandResult Daemon::Wdelta(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {WDELTA_FILE, "--server=" + address_});
  return RunCommand(arguments);
}

std::string Daemon::WdeltaOk(const std::vector<std::string>& arguments) const {
  const CommandResult result = Wdelta(arguments);
  EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.err;
  return result.out;
}

int Daemon::Stop() {
  process_.Signal(SIGTERM);
  return process_.Wait();
}

std::string HealthOf(grpc::Channel& channel, const std::string& service) {
  HealthRequest request;
  request.set_value(service);
  HealthResponse response;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTimeout));
  const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check",
                                         grpc::internal::RpcMethod::NORMAL_RPC);
  const grpc::Status status =
      grpc::internal::BlockingUnaryCall(&channel, method, &context, request, &response);
  if (status.ok()) return HealthWord(response);
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
}

struct HealthWatch::Call {
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<HealthResponse>> reader;
};

HealthWatch::HealthWatch(std::shared_ptr<grpc::Channel> channel, const std::string& service)
    : call_(std::make_unique<Call>()) {
  HealthRequest request;
  request.set_value(service);
  call_->channel = std::move(channel);
  call_->context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTimeout));
  const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Watch",
                                         grpc::internal::RpcMethod::SERVER_STREAMING);
  call_->reader.reset(grpc::internal::ClientReaderFactory<HealthResponse>::Create(
      call_->channel.get(), method, &call_->context, request));
}

HealthWatch::~HealthWatch() {
  call_->context.TryCancel();
  HealthResponse rest;
  while (call_->reader->Read(&rest)) {
  }
  call_->reader->Finish();
}

std::string HealthWatch::Next() {
  HealthResponse response;
  return call_->reader->Read(&response) ? HealthWord(response) : "END";
}

absl::StatusOr<std::string> ListServices(grpc::Channel& channel) {
  using google::protobuf::Empty;  // keeps fields that it does not know
  constexpr int kListServicesField = 7;
  Empty request;
  request.GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(kListServicesField,
                                                                              "");
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTimeout));
  const grpc::internal::RpcMethod method(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::internal::RpcMethod::BIDI_STREAMING);
  const std::unique_ptr<grpc::ClientReaderWriter<Empty, Empty>> stream(
      grpc::internal::ClientReaderWriterFactory<Empty, Empty>::Create(&channel, method, &context));
  stream->Write(request);
  stream->WritesDone();
  Empty response;
  const bool answered = stream->Read(&response);
  const grpc::Status status = stream->Finish();
  if (!status.ok()) {
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  }
  if (!answered) return absl::NotFoundError("reflection gave no answer");
  return response.SerializeAsString();
}

}  // namespace wdelta::testing
