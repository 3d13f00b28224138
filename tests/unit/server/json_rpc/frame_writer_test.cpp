#include "server/json_rpc/frame_writer.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>

namespace krserve::server::rpc {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;

struct Pipe {
  Pipe() { EXPECT_EQ(pipe(fds), 0); }
  ~Pipe() {
    close_reader();
    close(fds[1]);
  }
  void close_reader() {
    if (fds[0] >= 0) close(fds[0]);
    fds[0] = -1;
  }
  // Until `bytes` have come.
  std::string read_bytes(size_t bytes) {
    std::string all;
    std::string buffer(1 << 16, '\0');
    while (all.size() < bytes) {
      const auto count = read(fds[0], buffer.data(), buffer.size());
      if (count <= 0) break;
      all.append(buffer, 0, static_cast<size_t>(count));
    }
    return all;
  }
  int fds[2];
};

TEST(FrameWriter, FramesLeaveInTheirOrder) {
  Pipe pipe;
  FrameWriter writer(pipe.fds[1], [] {});
  writer.send("one");
  writer.post([] { return std::string("two"); });
  writer.post([] { return std::string(); });
  writer.send("three");
  EXPECT_EQ(pipe.read_bytes(14), "one\ntwo\nthree\n");
  EXPECT_TRUE(writer.flush(kPatience));
}

TEST(FrameWriter, AReaderThatDoesNotReadHoldsNobodyUp) {
  Pipe pipe;
  std::atomic<int> changes{0};
  FrameWriter writer(pipe.fds[1], [&] { ++changes; });
  const std::string frame(1 << 20, 'x');
  size_t frames = 0;
  while (!writer.full()) {  // would never end if send() waited
    writer.send(frame);
    ++frames;
  }
  EXPECT_FALSE(writer.flush(1ms));
  const std::string received = pipe.read_bytes(frames * (frame.size() + 1));
  EXPECT_EQ(received.size(), frames * (frame.size() + 1));
  EXPECT_TRUE(writer.flush(kPatience));
  EXPECT_FALSE(writer.full());
  EXPECT_EQ(changes, 1);
}

TEST(FrameWriter, DestructionDoesNotWaitForTheReader) {
  Pipe pipe;
  FrameWriter writer(pipe.fds[1], [] {});
  writer.send(std::string(1 << 20, 'x'));
}

TEST(FrameWriter, WhatIsDroppedAtTheEndMaySend) {
  Pipe pipe;
  auto writer = std::make_unique<FrameWriter>(pipe.fds[1], [] {});
  writer->send(std::string(1 << 20, 'x'));
  // As a call that was never answered does.
  const std::shared_ptr<int> last(new int(0), [w = writer.get()](int* value) {
    w->send("given up");
    delete value;
  });
  writer->post([held = last] { return std::string(); });
  const_cast<std::shared_ptr<int>&>(last).reset();
  writer.reset();
}

TEST(FrameWriter, ClosedPipeIsToldAndStillRunsWhatWasPosted) {
  Pipe pipe;
  pipe.close_reader();
  std::atomic<bool> told{false};
  FrameWriter writer(pipe.fds[1], [&] { told = true; });
  writer.send("nobody reads this");
  std::atomic<bool> ran{false};
  writer.post([&] {
    ran = true;
    return std::string("nor this");
  });
  EXPECT_TRUE(writer.flush(kPatience));
  EXPECT_TRUE(writer.broken());
  EXPECT_TRUE(told);
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace krserve::server::rpc
