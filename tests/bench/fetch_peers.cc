#include "tests/bench/fetch_peers.h"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/fail.h"
#include "tests/bench/fetch_parts.h"
#include "tests/bench/python_peer.h"

namespace wdelta::bench {
namespace {

namespace fs = std::filesystem;

constexpr char kNginx[] = "/usr/sbin/nginx";
constexpr int kNginxPort = 18'980;

// nginx with sendfile, serving a folder; null when it is not installed.
std::unique_ptr<Process> StartNginx(const fs::path& work, const fs::path& root, int port) {
  if (!fs::exists(kNginx)) return nullptr;
  const fs::path config = work / "nginx.conf";
  std::ofstream(config) << "daemon off; master_process off; pid " << (work / "nginx.pid").string()
                        << "; error_log /dev/null; events {} http { access_log off; sendfile on; "
                        << "server { listen 127.0.0.1:" << port << "; root " << root.string()
                        << "; } }\n";
  return std::make_unique<Process>(std::vector<std::string>{kNginx, "-c", config.string()});
}

void MeasureNginx(const FetchPeers& peers,
                  const std::function<void(const std::string&, const Cost&)>& add) {
  const auto nginx = StartNginx(peers.work, peers.target, kNginxPort);
  if (nginx == nullptr) return;
  const std::string address = absl::StrCat("http://127.0.0.1:", kNginxPort);
  for (int i = 0; !DropDownload(address, "/" + peers.file, 0, 1).ok(); ++i) {
    if (i == 100) Die("nginx does not answer at " + address);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  add("nginx, the whole file",
      Best(nginx.get(), [&] { return ValueOrDie(DropDownload(address, "/" + peers.file)).bytes; }));
}

void MeasureDeltatensors(const FetchPeers& peers,
                         const std::function<void(const std::string&, const Cost&)>& add) {
  const auto figures = RunPythonPeer(
      peers.python, {"deltatensors", peers.parent.string(), peers.target.string(), "1",
                     (peers.work / "peer.wdelta").string(), (peers.work / "peer.bin").string()});
  if (!figures.ok()) {
    std::printf("deltatensors: left out: %s\n", figures.status().ToString().c_str());
    return;
  }
  add("deltatensors, load", Cost{figures->at("load_seconds"), figures->at("load_cpu_seconds"),
                                 fs::file_size(peers.target / peers.file)});
}

}  // namespace

void MeasurePeers(const FetchPeers& peers,
                  const std::function<void(const std::string& what, const Cost& cost)>& add) {
  MeasureNginx(peers, add);
  const fs::path file = peers.target / peers.file;
  add("cat", Best(nullptr, [&] {
        ValueOrDie(CatSeconds(file));
        return fs::file_size(file);
      }));
  if (!peers.python.empty()) MeasureDeltatensors(peers, add);
}

}  // namespace wdelta::bench
