#include "server/grpc_server.h"

#include <cstdio>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "grpc/grpc.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server_builder.h"

namespace wdelta {
namespace {

constexpr int kKeepaliveTimeMs = 60'000;  // a client that vanished is noticed after
constexpr int kKeepaliveTimeoutMs = 20'000;
constexpr int kMinPingIntervalMs = 10'000;  // that clients may keep

std::string BoundAddress(const std::string& address, int port) {
  if (absl::StartsWith(address, "unix:")) return address;
  return absl::StrCat(address.substr(0, address.rfind(':') + 1), port);
}

}  // namespace

GrpcServer::GrpcServer(std::unique_ptr<grpc::Server> server, std::vector<std::string> addresses,
                       ActiveCalls* calls)
    : server_(std::move(server)), addresses_(std::move(addresses)), calls_(calls) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  for (const std::string& name : RpcServices::Names()) health->SetServingStatus(name, true);
  health->SetServingStatus("", true);
}

GrpcServer::~GrpcServer() { Drain(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const std::vector<std::string>& listen, RpcServices* services, uint64_t read_ahead_bytes,
    std::shared_ptr<grpc::ServerCredentials> credentials) {
  // Never given back: the end of the last holder waits for a poll of gRPC's that may take
  // ten seconds, long after all calls and connections have ended.
  grpc_init();
  // Both are process-wide and may be repeated.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Two daemons on one port would share the calls between them.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  // Left to itself, gRPC takes a busy server for a long way and receives tens of MiB of each
  // stream ahead.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES,
                             static_cast<int>(read_ahead_bytes));
  std::vector<int> ports(listen.size(), 0);
  for (size_t i = 0; i < ports.size(); ++i) {
    const bool is_socket = absl::StartsWith(listen[i], "unix:");
    builder.AddListeningPort(listen[i], is_socket ? grpc::InsecureServerCredentials() : credentials,
                             &ports[i]);
  }
  services->RegisterTo(builder);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::vector<std::string> addresses;
  for (size_t i = 0; i < ports.size(); ++i) {
    if (server == nullptr && ports[i] == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", listen[i],
                       ": the address is in use, not ours, or does not resolve"));
    }
    addresses.push_back(BoundAddress(listen[i], ports[i]));
  }
  if (server == nullptr) return absl::InternalError("gRPC cannot start a server");
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(server), std::move(addresses),
                                                    &services->environment().active_calls()));
}

void GrpcServer::Drain(absl::Duration grace) {
  server_->GetHealthCheckService()->Shutdown();
  // The calls are waited for, not the connections: idle ones, and watchers of health,
  // close when their clients please.
  calls_->AwaitNone(grace);
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  server_->Wait();
}

absl::Status WriteAddressFile(const std::string& path, const std::vector<std::string>& addresses) {
  const std::string part = absl::StrCat(path, ".part");
  std::ofstream file(part, std::ios::trunc);
  file << absl::StrJoin(addresses, "\n") << "\n";
  file.close();
  if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
    return absl::InternalError(absl::StrCat("address_file: cannot write ", path));
  }
  return absl::OkStatus();
}

}  // namespace wdelta
