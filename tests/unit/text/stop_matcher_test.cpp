#include "text/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace krserve {
namespace {

TEST(StopMatcher, WithoutStringsTextPassesThrough) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc").text, "abc");
  EXPECT_EQ(matcher.finish(), "");
  StopMatcher empty({"", ""});
  EXPECT_EQ(empty.push("abc").text, "abc");
  EXPECT_FALSE(empty.stopped());
}

TEST(StopMatcher, StopsInsideOnePiece) {
  StopMatcher matcher({"no", "END"});
  const auto result = matcher.push("fine END of it");
  EXPECT_EQ(result.text, "fine ");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.stop_index, 1U);
  EXPECT_EQ(matcher.push("more").text, "");
  EXPECT_TRUE(matcher.push("more").stopped);
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, HoldsBackOnlyWhatCanStillBecomeAStop) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.push("a\n").text, "a");
  EXPECT_EQ(matcher.held_bytes(), 1U);
  EXPECT_EQ(matcher.push("\n").text, "");
  // A third line break: the first one is free.
  EXPECT_EQ(matcher.push("\n").text, "\n");
  EXPECT_EQ(matcher.push("Us").text, "");
  const auto result = matcher.push("er: x");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.text, "");
}

TEST(StopMatcher, BrokenPromiseComesOutInOrder) {
  StopMatcher matcher({"stop"});
  EXPECT_EQ(matcher.push("sto").text, "");
  EXPECT_EQ(matcher.push("rm").text, "storm");
  EXPECT_EQ(matcher.push("st").text, "");
  EXPECT_EQ(matcher.finish(), "st");
  EXPECT_EQ(matcher.push("op").text, "");
}

TEST(StopMatcher, ShortStringInsideALongOneWins) {
  StopMatcher matcher({"abcd", "bc"});
  const auto result = matcher.push("xabcd");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.stop_index, 1U);
  EXPECT_EQ(result.text, "xa");
}

TEST(StopMatcher, OfStringsThatEndTogetherTheLongestWins) {
  StopMatcher matcher({"c", "bc", "abc"});
  const auto result = matcher.push("xabc");
  EXPECT_EQ(result.stop_index, 2U);
  EXPECT_EQ(result.text, "x");
}

TEST(StopMatcher, SelfOverlappingStringIsFound) {
  StopMatcher matcher({"aab"});
  std::string text;
  bool stopped = false;
  for (const char c : std::string("aaaab")) {
    const auto result = matcher.push(std::string(1, c));
    text += result.text;
    stopped = result.stopped;
  }
  EXPECT_TRUE(stopped);
  EXPECT_EQ(text, "aa");
}

TEST(StopMatcher, SplitCharactersOfUtf8AreMatched) {
  StopMatcher matcher({"終"});
  const auto result = matcher.push("最終");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.text, "最");
}

TEST(StopMatcher, ResetKeepsTheStrings) {
  StopMatcher matcher({"x"});
  EXPECT_TRUE(matcher.push("ax").stopped);
  matcher.reset();
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.push("a").text, "a");
  EXPECT_TRUE(matcher.push("x").stopped);
}

struct Found {
  std::string text;
  std::optional<size_t> stop;
};

// The definition, spelled out: the first position at which a string is complete, the longest there.
Found search(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<size_t> best;
    for (size_t i = 0; i < stops.size(); ++i) {
      const bool ends_here = std::string_view(text).substr(0, end).ends_with(stops[i]);
      if (ends_here && !stops[i].empty() && (!best || stops[i].size() > stops[*best].size())) {
        best = i;
      }
    }
    if (best) {
      return {text.substr(0, end - stops[*best].size()), best};
    }
  }
  return {text, std::nullopt};
}

bool can_become_stop(const std::string& tail, const std::vector<std::string>& stops) {
  return std::any_of(stops.begin(), stops.end(),
                     [&](const auto& stop) { return stop.starts_with(tail); });
}

TEST(StopMatcher, AgreesWithPlainSearchHoweverTheTextIsCut) {
  std::mt19937 random(11);
  const auto word = [&](size_t max_size) {
    std::string text(random() % (max_size + 1), 'a');
    for (char& c : text) {
      c = static_cast<char>('a' + random() % 3);
    }
    return text;
  };
  size_t hits = 0;
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (auto& stop : stops) {
      stop = word(6);
    }
    const std::string text = word(40);
    StopMatcher matcher(stops);
    std::string out;
    for (size_t at = 0; at < text.size() && !matcher.stopped();) {
      const size_t bytes = 1 + random() % 5;
      const auto result = matcher.push(std::string_view(text).substr(at, bytes));
      at += bytes;
      out += result.text;
      if (!result.stopped) {
        const std::string seen = text.substr(0, at);
        const std::string held = seen.substr(seen.size() - matcher.held_bytes());
        ASSERT_EQ(out + held, seen);
        ASSERT_TRUE(held.empty() || can_become_stop(held, stops));
      } else {
        ASSERT_EQ(search(text, stops).stop, result.stop_index);
        ++hits;
      }
    }
    const auto expected = search(text, stops);
    ASSERT_EQ(matcher.stopped(), expected.stop.has_value());
    out += matcher.finish();
    ASSERT_EQ(out, expected.text) << "round " << round;
  }
  EXPECT_GT(hits, 500U);
}

}  // namespace
}  // namespace krserve
