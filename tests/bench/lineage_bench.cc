// Times of lineage calls in a store of many models, as a client of the daemon's own
// services sees them, and of the daemon's start. Bars: each p99 below 10 ms, start below
// 2 s.
//
//   lineage_bench [--models=100000] [--chain=1000] [--calls=500] [--seed=1]
//
// The models are records alone, without bytes: chains of `chain` models below one root,
// fans, and merges that tie them together. Calls go through gRPC without a network.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "grpcpp/grpcpp.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/services.h"
#include "spdlog/sinks/null_sink.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/base/id.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/rocksdb_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/bench/fail.h"
#include "tests/bench/table.h"
#include "tests/bench/timers.h"
#include "tests/support/temp_folder.h"

namespace wdelta::bench {
namespace {

using store::v1::ModelRecord;

struct Arguments {
  uint32_t models = 100'000;
  uint32_t chain = 1000;
  uint32_t calls = 500;
  uint32_t seed = 1;
};

// One DAG below model 0: half of the models in chains, half in fans below some of them,
// every tenth of a fan a merge of two models that were there before.
class Lineage {
 public:
  explicit Lineage(const Arguments& arguments)
      : arguments_(arguments), random_(arguments.seed), ids_(&clock_) {}

  void WriteTo(Catalog& catalog) {
    constexpr uint32_t kModelsPerCommit = 1000;
    Commit commit;
    for (uint32_t i = 0; i < arguments_.models; ++i) {
      Add(ParentsOf(i), commit);
      if (i % kModelsPerCommit != 0 && i + 1 != arguments_.models) continue;
      DieUnlessOk(catalog.Apply(commit).status());
      commit = Commit();
    }
  }

  const std::string& Any() { return models_[Below(static_cast<uint32_t>(models_.size()))]; }
  const std::string& root() const { return models_.front(); }
  // A model at the end of a chain.
  const std::string& AnyEnd() { return ends_[Below(static_cast<uint32_t>(ends_.size()))]; }

 private:
  uint32_t Below(uint32_t bound) {
    return std::uniform_int_distribution<uint32_t>(0, bound - 1)(random_);
  }

  std::vector<uint32_t> ParentsOf(uint32_t i) {
    if (i == 0) return {};
    if (i <= arguments_.models / 2) {
      const bool is_first = (i - 1) % arguments_.chain == 0;
      return {is_first ? 0 : i - 1};
    }
    if (i % 10 == 0) {
      const uint32_t a = Below(i);
      const uint32_t b = Below(i);
      if (a != b) return {a, b};
    }
    // Three wide fans, one below the root.
    const uint32_t hub = (i % 3) * (arguments_.models / 8);
    return {hub};
  }

  void Add(const std::vector<uint32_t>& parents, Commit& commit) {
    ModelRecord record;
    record.set_id(ids_.Next());
    record.set_name(absl::StrCat("team/model-", models_.size()));
    record.set_state(ModelRecord::READY);
    record.set_create_time_us(absl::ToUnixMicros(clock_.Now()));
    record.set_raw_bytes(14'000'000'000 + models_.size());
    record.set_stored_bytes(5'000'000'000);
    (*record.mutable_labels())["team"] = absl::StrCat("t", models_.size() % 100);
    for (const uint32_t parent : parents) {
      store::v1::ParentEdge* const edge = record.add_parents();
      edge->set_model_id(models_[parent]);
      edge->set_name(absl::StrCat("team/model-", parent));
      edge->set_relation(parents.size() > 1 ? store::v1::ParentEdge::MERGE
                                            : store::v1::ParentEdge::FINE_TUNE);
      commit.Write(keys::Child(models_[parent], record.id()), "");
    }
    for (int i = 0; i < 4; ++i) {
      store::v1::FileRecord* const file = record.add_files();
      file->set_path(absl::StrCat("model-0000", i, "-of-00004.safetensors"));
      file->set_size_bytes(3'500'000'000);
      file->set_sha256(std::string(32, 'x'));
    }
    commit.Write(keys::Model(record.id()), record.SerializeAsString());
    commit.Write(keys::Version(record.name(), record.id()), "");
    if (models_.size() % arguments_.chain == 0) ends_.push_back(record.id());
    models_.push_back(record.id());
  }

  const Arguments arguments_;
  std::mt19937 random_;
  SystemClock clock_;
  IdGenerator ids_;
  std::vector<std::string> models_;
  std::vector<std::string> ends_;
};

// What main of the daemon builds, over a folder that is there.
class Served {
 public:
  explicit Served(const std::string& folder)
      : catalog_(ValueOrDie(RocksdbCatalog::Open(folder + "/catalog"))),
        files_(NewPosixFileSystem()),
        log_("bench", std::make_shared<spdlog::sinks::null_sink_mt>()),
        store_({&blobs_, catalog_.get(), files_.get(), &clock_}, Options(folder)),
        environment_(&store_, &log_, RpcOptions()),
        services_(&environment_) {
    DieUnlessOk(files_->CreateDirectories(folder + "/staging"));
    DieUnlessOk(store_.Recover());
    grpc::ServerBuilder builder;
    services_.RegisterTo(builder);
    server_ = builder.BuildAndStart();
    const auto channel = server_->InProcessChannel({});
    lineage = v1::Lineage::NewStub(channel);
    models = v1::Models::NewStub(channel);
  }
  ~Served() { server_->Shutdown(); }

  std::unique_ptr<v1::Lineage::Stub> lineage;
  std::unique_ptr<v1::Models::Stub> models;

 private:
  static ModelStoreOptions Options(const std::string& folder) {
    ModelStoreOptions options;
    options.staging_dir = folder + "/staging";
    return options;
  }

  MemoryBlobStore blobs_;
  std::unique_ptr<RocksdbCatalog> catalog_;
  std::unique_ptr<FileSystem> files_;
  SystemClock clock_;
  spdlog::logger log_;
  ModelStore store_;
  RpcEnvironment environment_;
  RpcServices services_;
  std::unique_ptr<grpc::Server> server_;
};

std::string IdReference(const std::string& id) { return "id:" + id; }

void DieUnlessServed(const grpc::Status& status) {
  if (!status.ok()) Die(status.error_message());
}

class Calls {
 public:
  Calls(Served* served, const Arguments& arguments) : served_(*served), arguments_(arguments) {}

  // `call` returns how many items came.
  void Time(const std::string& name, const std::function<size_t()>& call) {
    std::vector<double> seconds;
    size_t items = 0;
    for (uint32_t i = 0; i < arguments_.calls; ++i) {
      const double begin = WallSeconds();
      items += call();
      seconds.push_back(WallSeconds() - begin);
    }
    std::sort(seconds.begin(), seconds.end());
    const auto at = [&](double part) {
      return Fixed(1e3 * seconds[static_cast<size_t>(part * double(seconds.size() - 1))], 3);
    };
    table_.AddRow({name, Fixed(double(items) / arguments_.calls, 1), at(0.5), at(0.99), at(1)});
  }

  // A page of a walk behind `token`; the next token.
  size_t Traverse(const std::string& model, v1::TraverseRequest::Direction direction,
                  std::string& token) {
    v1::TraverseRequest request;
    request.set_model(IdReference(model));
    request.set_direction(direction);
    request.set_page_token(token);
    v1::TraverseResponse page;
    grpc::ClientContext context;
    DieUnlessServed(served_.lineage->Traverse(&context, request, &page));
    token = page.next_page_token();
    return static_cast<size_t>(page.nodes_size());
  }

  size_t Path(const std::string& from, const std::string& to) {
    v1::FindPathRequest request;
    request.set_from(IdReference(from));
    request.set_to(IdReference(to));
    v1::FindPathResponse page;
    grpc::ClientContext context;
    DieUnlessServed(served_.lineage->FindPath(&context, request, &page));
    return static_cast<size_t>(page.steps_size());
  }

  size_t Common(const std::string& a, const std::string& b) {
    v1::CommonAncestorsRequest request;
    request.add_models(IdReference(a));
    request.add_models(IdReference(b));
    v1::CommonAncestorsResponse page;
    grpc::ClientContext context;
    DieUnlessServed(served_.lineage->CommonAncestors(&context, request, &page));
    return static_cast<size_t>(page.ancestors_size());
  }

  // A page of a list of the lineage, behind `token`.
  template <typename Request, typename Response>
  size_t List(grpc::Status (v1::Lineage::Stub::*call)(grpc::ClientContext*, const Request&,
                                                      Response*),
              Request request, std::string& token) {
    request.set_page_token(token);
    Response page;
    grpc::ClientContext context;
    DieUnlessServed((served_.lineage.get()->*call)(&context, request, &page));
    token = page.next_page_token();
    return static_cast<size_t>(page.nodes_size());
  }

  size_t Models(v1::ListModelsRequest request, std::string& token) {
    request.set_page_token(token);
    v1::ListModelsResponse page;
    grpc::ClientContext context;
    DieUnlessServed(served_.models->ListModels(&context, request, &page));
    token = page.next_page_token();
    return static_cast<size_t>(page.models_size());
  }

  std::string Text() const { return table_.Text(); }

 private:
  Served& served_;
  const Arguments arguments_;
  Table table_{{"call", "items", "p50 ms", "p99 ms", "max ms"}};
};

void TimeLineage(Calls& calls, Lineage& lineage) {
  using Stub = v1::Lineage::Stub;
  std::string token;
  calls.Time("ancestors, first page", [&] {
    token.clear();
    return calls.Traverse(lineage.AnyEnd(), v1::TraverseRequest::ANCESTORS, token);
  });
  token.clear();
  std::string end = lineage.AnyEnd();
  calls.Time("ancestors, page after page", [&] {
    if (token.empty()) end = lineage.AnyEnd();
    return calls.Traverse(end, v1::TraverseRequest::ANCESTORS, token);
  });
  calls.Time("descendants of the root, first page", [&] {
    token.clear();
    return calls.Traverse(lineage.root(), v1::TraverseRequest::DESCENDANTS, token);
  });
  token.clear();
  calls.Time("descendants of the root, page after page", [&] {
    return calls.Traverse(lineage.root(), v1::TraverseRequest::DESCENDANTS, token);
  });
  calls.Time("descendants of any, first page", [&] {
    token.clear();
    return calls.Traverse(lineage.Any(), v1::TraverseRequest::DESCENDANTS, token);
  });
  calls.Time("path, root to any", [&] { return calls.Path(lineage.root(), lineage.Any()); });
  calls.Time("path, any to any", [&] { return calls.Path(lineage.Any(), lineage.Any()); });
  calls.Time("path, chain end to chain end",
             [&] { return calls.Path(lineage.AnyEnd(), lineage.AnyEnd()); });
  calls.Time("common ancestors, any two",
             [&] { return calls.Common(lineage.Any(), lineage.Any()); });
  calls.Time("common ancestors, chain ends",
             [&] { return calls.Common(lineage.AnyEnd(), lineage.AnyEnd()); });
  token.clear();
  calls.Time("leaves, page after page",
             [&] { return calls.List(&Stub::ListLeaves, v1::ListLeavesRequest(), token); });
  v1::ListChildrenRequest children;
  children.set_model(IdReference(lineage.root()));
  token.clear();
  calls.Time("children of the root, page after page",
             [&] { return calls.List(&Stub::ListChildren, children, token); });
}

void TimeModels(Calls& calls) {
  std::string token;
  calls.Time("models, page after page",
             [&] { return calls.Models(v1::ListModelsRequest(), token); });
  v1::ListModelsRequest labelled;
  (*labelled.mutable_labels())["team"] = "t7";
  token.clear();
  calls.Time("models with a label, page after page", [&] { return calls.Models(labelled, token); });
  v1::ListModelsRequest none;
  none.set_name_pattern("nobody*");
  token.clear();
  calls.Time("models of which none matches, page after page",
             [&] { return calls.Models(none, token); });
}

int Main(const Arguments& arguments) {
  if (arguments.models < 1000 || arguments.chain == 0 || arguments.calls == 0) {
    Die("expected at least 1000 models, chains and calls of at least 1");
  }
  const TempFolder folder;
  Lineage lineage(arguments);
  lineage.WriteTo(*ValueOrDie(RocksdbCatalog::Open(folder / "catalog")));
  double begin = WallSeconds();
  Served served(folder.path());
  std::printf("%u models, chains of %u, seed %u\nstart: %.3f s\n\n", arguments.models,
              arguments.chain, arguments.seed, WallSeconds() - begin);
  Calls calls(&served, arguments);
  TimeLineage(calls, lineage);
  TimeModels(calls);
  std::fputs(calls.Text().c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace wdelta::bench

int main(int argc, char** argv) {
  wdelta::bench::Arguments arguments;
  CLI::App app("Times of lineage calls", "wdelta_lineage_bench");
  app.add_option("--models", arguments.models, "Models in the lineage")->capture_default_str();
  app.add_option("--chain", arguments.chain, "Models of a chain")->capture_default_str();
  app.add_option("--calls", arguments.calls, "Calls of each kind")->capture_default_str();
  app.add_option("--seed", arguments.seed, "Of the random choices")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return wdelta::bench::Main(arguments);
}
