#include "text/detokenizer.h"

#include <gmock/gmock.h>

#include <random>
#include <utility>
#include <vector>

#include "text/tokenizer.h"
#include "text_fixtures.h"

namespace krserve {
namespace {

using ::testing::ElementsAre;

// Whether all of `text` is whole UTF-8 characters: nlohmann's writer checks it.
bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer,
                   const std::vector<int32_t>& ids, bool skip) {
  Detokenizer detokenizer(tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.push(id);
    EXPECT_TRUE(is_utf8(piece));
    text += piece;
  }
  return text + detokenizer.finish();
}

TEST(Detokenizer, StreamsWhatDecodeReturns) {
  for (const auto& entry : test::expected()["encodings"]) {
    SCOPED_TRACE(entry["text"].dump());
    const auto name = entry["tokenizer"].get<std::string>();
    const auto tokenizer = Tokenizer::load(test::data_dir() / name);
    const auto ids = entry["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(stream(tokenizer, ids, false), entry["decoded"].get<std::string>());
    EXPECT_EQ(stream(tokenizer, ids, true), entry["decoded_plain"].get<std::string>());
  }
}

TEST(Detokenizer, HoldsBackACharacterSplitOverTokens) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const auto ids = tokenizer->encode("👋!", false);
  ASSERT_EQ(ids.size(), 5U);
  Detokenizer detokenizer(tokenizer);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) {
    pieces.push_back(detokenizer.push(id));
  }
  EXPECT_THAT(pieces, ElementsAre("", "", "", "👋", "!"));
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, FinishReplacesAnIncompleteCharacterAndStartsAfresh) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const auto ids = tokenizer->encode("👋", false);
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.push(ids[0]), "");
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.finish(), "");
  for (const int32_t id : ids) {
    detokenizer.push(id);
  }
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, TenThousandRandomTokensEqualFullDecode) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  std::mt19937 random(7);
  std::vector<int32_t> ids(10'000);
  for (int32_t& id : ids) {
    // Ids past the vocabulary and special tokens among them.
    id = static_cast<int32_t>(random() % (tokenizer->vocab_size() + 5));
  }
  EXPECT_EQ(stream(tokenizer, ids, false), tokenizer->decode(ids, false));
  EXPECT_EQ(stream(tokenizer, ids, true), tokenizer->decode(ids, true));
}

TEST(Detokenizer, TenThousandSentencepieceTokensEqualFullDecode) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "llama");
  std::string text;
  std::vector<int32_t> ids;
  while (ids.size() < 10'000) {
    text += "Hello 👋🏽 world,  你好 naïve <s> Ж ";
    ids = tokenizer->encode(text, true);
  }
  EXPECT_EQ(stream(tokenizer, ids, false), tokenizer->decode(ids, false));
  EXPECT_EQ(stream(tokenizer, ids, true), tokenizer->decode(ids, true));
}

TEST(Detokenizer, SpecialTokensAreSkippedByDefault) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const auto end = tokenizer->token_id("<|im_end|>").value();
  EXPECT_EQ(Detokenizer(tokenizer).push(end), "");
  EXPECT_EQ(Detokenizer(tokenizer, false).push(end), "<|im_end|>");
}

TEST(Detokenizer, OutlivesTheCallersTokenizerAndMoves) {
  auto tokenizer = Tokenizer::load(test::data_dir() / "llama");
  const auto ids = tokenizer->encode("Hello world", false);
  Detokenizer first(tokenizer);
  tokenizer.reset();
  std::string text = first.push(ids[0]);
  Detokenizer second = std::move(first);
  for (size_t i = 1; i < ids.size(); ++i) {
    text += second.push(ids[i]);
  }
  EXPECT_EQ(text + second.finish(), "Hello world");
}

}  // namespace
}  // namespace krserve
