#include "server/http/idle_connections.h"

#include <sys/socket.h>

#include <array>
#include <deque>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

// What came of connections, by the number of requests that they say they have served.
class IdleConnectionsTest : public ::testing::Test {
 protected:
  IdleConnectionsTest() {
    idle_ = IdleConnections::Start([this](ConnectionPtr c) { Note(ready_, std::move(c)); },
                                   [this](ConnectionPtr c) { Note(ended_, std::move(c)); })
                .value();
  }
  ~IdleConnectionsTest() override {
    idle_.reset();
    for (const int peer : peers_) ::close(peer);
  }

  // Returns the other end.
  int Add(int number, absl::Duration time_left) {
    std::array<int, 2> ends;
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    peers_.push_back(ends[1]);
    auto connection = std::make_unique<Connection>(ends[0], Pace());
    connection->served = number;
    connection->deadline = absl::Now() + time_left;
    idle_->Add(std::move(connection));
    return ends[1];
  }
  int NextOf(std::deque<int>& numbers) {
    absl::MutexLock lock(&mutex_);
    const auto has_one = [&numbers] { return !numbers.empty(); };
    mutex_.Await(absl::Condition(&has_one));
    const int number = numbers.front();
    numbers.pop_front();
    return number;
  }
  int NextReady() { return NextOf(ready_); }
  int NextEnded() { return NextOf(ended_); }
  IdleConnections& idle() { return *idle_; }

 private:
  void Note(std::deque<int>& numbers, ConnectionPtr connection) {
    absl::MutexLock lock(&mutex_);
    numbers.push_back(connection->served);
  }

  absl::Mutex mutex_;
  std::deque<int> ready_;
  std::deque<int> ended_;
  std::vector<int> peers_;
  std::unique_ptr<IdleConnections> idle_;
};

TEST_F(IdleConnectionsTest, WhatCanBeReadIsReady) {
  std::vector<int> peers;
  for (int i = 0; i < 100; ++i) peers.push_back(Add(i, absl::Hours(1)));
  for (const int i : {50, 3, 99}) {
    EXPECT_EQ(send(peers[i], "a", 1, 0), 1);
    EXPECT_EQ(NextReady(), i);
  }
  ::shutdown(peers[7], SHUT_WR);
  EXPECT_EQ(NextReady(), 7);
}

TEST_F(IdleConnectionsTest, DeadlinesEndWhatIsSilent) {
  Add(1, absl::Hours(1));
  Add(2, absl::Milliseconds(10));
  Add(3, absl::Seconds(1));
  EXPECT_EQ(NextEnded(), 2);
  EXPECT_EQ(NextEnded(), 3);
}

TEST_F(IdleConnectionsTest, TheFirstToEndMakesRoom) {
  EXPECT_FALSE(idle().EndFirst());
  Add(1, absl::Hours(3));
  Add(2, absl::Hours(1));
  Add(3, absl::Hours(2));
  EXPECT_TRUE(idle().EndFirst());
  EXPECT_EQ(NextEnded(), 2);
  EXPECT_TRUE(idle().EndFirst());
  EXPECT_EQ(NextEnded(), 3);
}

TEST_F(IdleConnectionsTest, AStopEndsAllAndWhatComesLater) {
  Add(1, absl::Hours(1));
  idle().Stop();
  EXPECT_EQ(NextEnded(), 1);
  Add(2, absl::Hours(1));
  EXPECT_EQ(NextEnded(), 2);
  idle().Join();
}

}  // namespace
}  // namespace wdelta
