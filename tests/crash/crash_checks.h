// Compares a daemon that came back with what was promised before it died.
#pragma once

#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "tests/crash/truth.h"

namespace wdelta::testing {

// Finds out what became of the calls that had no answer, then checks everything: each
// model exact, names, tags and open uploads as promised, and nothing else to be seen.
// Fails the test where it is not so. While nobody else makes calls.
void SettleAndCheck(const std::shared_ptr<grpc::Channel>& channel, Truth& truth);

// Deletes everything and collects garbage; fails the test when that cannot be done.
void DeleteAll(const std::shared_ptr<grpc::Channel>& channel, Truth& truth);

// Over the data folder of a daemon that has ended: no blob, no staged file, no record but
// those of ended jobs and uploads. Fails the test otherwise.
void ExpectEmptyDataDir(const std::string& data_dir);

}  // namespace wdelta::testing
