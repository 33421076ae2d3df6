#include "tests/http/http_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "spdlog/sinks/null_sink.h"

namespace wdelta::testing {

HttpTest::HttpTest()
    : posix_files_(NewPosixFileSystem()),
      files_(posix_files_.get()),
      log_(std::make_unique<spdlog::logger>("test",
                                            std::make_shared<spdlog::sinks::null_sink_mt>())) {
  ModelStoreOptions options;
  options.staging_dir = folder_ / "staging";
  EXPECT_TRUE(files_.CreateDirectories(options.staging_dir).ok());
  store_ = std::make_unique<ModelStore>(
      ModelStore::Dependencies{&hooked_blobs_, &catalog_, &files_, &clock_}, options);
  StartServer(8);
}

HttpTest::~HttpTest() {
  client_.reset();
  server_.reset();
  store_.reset();
}

void HttpTest::StopServer() {
  client_.reset();
  server_.reset();
}

void HttpTest::StartServer(int max_connections, const Pace& pace) {
  server_.reset();
  // As the daemon has them.
  downloads_ = std::make_unique<AdmissionQueue>(
      AdmissionQueueOptions{.limit = std::max(1, std::min(fetches_->limit(), max_connections) / 2),
                            .max_waiting = std::numeric_limits<int>::max(),
                            .reason = "TOO_MANY_FETCHES"});
  auto started = HttpServer::Start(
      {"127.0.0.1:0", max_connections, pace},
      {store_.get(), &catalog_, &files_, &clock_, fetches_, downloads_.get(), log_.get(),
       folder_ / "incoming", /*stats=*/nullptr, authenticator_, tls_});
  if (!started.ok()) {
    ADD_FAILURE() << started.status();
    std::abort();
  }
  server_ = *std::move(started);
  const std::string& address = server_->address();
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port_)) << address;
  client_ = NewClient();
}

std::unique_ptr<httplib::Client> HttpTest::NewClient() const {
  auto client = std::make_unique<httplib::Client>("127.0.0.1", port_);
  client->set_keep_alive(true);
  client->set_read_timeout(60);
  client->set_url_encode(false);  // targets are written as they are sent
  return client;
}

Model HttpTest::Stage(const std::string& name, const TestFiles& files,
                      const store::v1::FidelityPolicy& fidelity, const std::string& parent) {
  StartUploadParams params;
  params.name = name;
  params.kind = store::v1::UploadRecord::CHECKPOINT;
  params.new_version = true;
  params.fidelity = fidelity;
  if (!parent.empty()) params.parents.push_back({parent, {}, {}});
  const auto upload = store_->uploads().Start(params);
  EXPECT_TRUE(upload.ok()) << upload.status();
  std::vector<EntryParams> entries;
  for (const auto& [path, data] : files) entries.push_back({path, data.size(), ""});
  EXPECT_TRUE(store_->uploads().AddEntries(upload->record.id(), entries).ok());
  {
    auto writer = store_->uploads().OpenWriter(upload->record.id());
    EXPECT_TRUE(writer.ok()) << writer.status();
    for (const auto& [path, data] : files) {
      const absl::Status written = (*writer)->Write(path, 0, data);
      EXPECT_TRUE(written.ok()) << written;
    }
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  auto finished = store_->uploads().Finish(upload->record.id(), {});
  EXPECT_TRUE(finished.ok()) << finished.status();
  return finished.ok() ? finished->model : Model();
}

Model HttpTest::Push(const std::string& name, const TestFiles& files) {
  const Model staged = Stage(name, files);
  RunJobs();
  const auto stored = store_->models().GetById(staged.record.id());
  EXPECT_TRUE(stored.ok() && stored->has_value());
  EXPECT_EQ((*stored)->record.state(), store::v1::ModelRecord::READY) << (*stored)->record.error();
  return **stored;
}

void HttpTest::RunJobs() {
  while (true) {
    auto claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok()) << claim.status();
    if (!claim->job.has_value()) return;
    const absl::Status ran = store_->runner().Run(*std::move(claim->job), [] { return false; });
    EXPECT_TRUE(ran.ok()) << ran;
  }
}

httplib::Result HttpTest::Get(const std::string& target, const httplib::Headers& headers) {
  return client_->Get(target, headers);
}

httplib::Result HttpTest::Head(const std::string& target, const httplib::Headers& headers) {
  return client_->Head(target, headers);
}

nlohmann::json HttpTest::GetJson(const std::string& target) {
  const httplib::Result result = Get(target);
  EXPECT_EQ(StatusAndCode(result), "200") << target;
  return result ? nlohmann::json::parse(result->body, nullptr, false) : nlohmann::json();
}

std::string HttpTest::Raw(const std::string& bytes) const {
  const RawConnection connection(port_);
  connection.Send(bytes);
  connection.EndSending();
  return connection.Receive();
}

std::string StatusAndCode(const httplib::Result& result) {
  if (!result) return absl::StrCat("no answer: ", httplib::to_string(result.error()));
  const std::string code = result->get_header_value("X-Error-Code");
  return absl::StrCat(result->status, code.empty() ? "" : " ", code);
}

RawConnection::RawConnection(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  timeval timeout{60, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
}

RawConnection::~RawConnection() { close(socket_); }

bool RawConnection::Send(const std::string& bytes) const {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t count = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

void RawConnection::EndSending() const { ::shutdown(socket_, SHUT_WR); }

std::string RawConnection::Receive(size_t enough) const {
  std::string received;
  char buffer[64 * 1024];
  while (received.size() < enough) {
    const size_t wanted = std::min(sizeof(buffer), enough - received.size());
    const ssize_t count = recv(socket_, buffer, wanted, 0);
    if (count <= 0) break;
    received.append(buffer, static_cast<size_t>(count));
  }
  return received;
}

}  // namespace wdelta::testing
