#include "server/json_rpc/line_reader.h"

#include <gmock/gmock.h>

#include <vector>

namespace krserve::server::rpc {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> taken(LineReader& reader) {
  std::vector<std::string> lines;
  while (const auto line = reader.next()) {
    lines.push_back(line->skipped_bytes > 0 ? "skipped " + std::to_string(line->skipped_bytes)
                                            : line->text);
  }
  return lines;
}

TEST(LineReader, LinesComeOutWholeHoweverTheBytesCome) {
  const std::string stream = "one\n\ntwo and more\nthree\n";
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    LineReader reader(100);
    for (size_t i = 0; i < stream.size(); i += piece) reader.add(stream.substr(i, piece));
    EXPECT_THAT(taken(reader), ElementsAre("one", "", "two and more", "three")) << piece;
  }
}

TEST(LineReader, LineOfTheLimitIsKeptAndALongerOneSkippedWhole) {
  const std::string stream = "12345\n123456\n1234567890\nok\n";
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    LineReader reader(5);
    for (size_t i = 0; i < stream.size(); i += piece) reader.add(stream.substr(i, piece));
    EXPECT_THAT(taken(reader), ElementsAre("12345", "skipped 6", "skipped 10", "ok")) << piece;
  }
}

TEST(LineReader, LastLineNeedsNoLineBreak) {
  LineReader reader(5);
  reader.add("a\nb");
  EXPECT_THAT(taken(reader), ElementsAre("a"));
  reader.finish();
  EXPECT_THAT(taken(reader), ElementsAre("b"));
  reader.finish();
  EXPECT_THAT(taken(reader), ElementsAre());
}

TEST(LineReader, LastLineMayBeTooLong) {
  LineReader reader(5);
  reader.add("123456");
  reader.finish();
  EXPECT_THAT(taken(reader), ElementsAre("skipped 6"));
}

TEST(LineReader, RaisedLimitDoesNotReviveASkippedLine) {
  LineReader reader(5);
  reader.add("123456");
  reader.set_limit(100);
  reader.add("789\nnext line\n");
  EXPECT_THAT(taken(reader), ElementsAre("skipped 9", "next line"));
}

}  // namespace
}  // namespace krserve::server::rpc
