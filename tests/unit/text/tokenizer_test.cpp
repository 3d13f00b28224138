#include "text/tokenizer.h"

#include <gmock/gmock.h>

#include <thread>
#include <vector>

#include "text/text_error.h"
#include "text_fixtures.h"

namespace krserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Tokenizer, EncodesAndDecodesAsThePythonLibraryDoes) {
  for (const auto& entry : test::expected()["encodings"]) {
    const auto name = entry["tokenizer"].get<std::string>();
    SCOPED_TRACE(name + ": " + entry["text"].dump());
    const auto tokenizer = Tokenizer::load(test::data_dir() / name);
    const auto ids = tokenizer->encode(entry["text"].get<std::string>(), entry["add"].get<bool>());
    EXPECT_EQ(ids, entry["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer->decode(ids, false), entry["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer->decode(ids, true), entry["decoded_plain"].get<std::string>());
  }
}

TEST(Tokenizer, SpecialTokenWrittenInTheTextBecomesItsIdAsInTransformers) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const auto start = tokenizer->token_id("<|im_start|>");
  ASSERT_TRUE(start.has_value());
  const auto ids = tokenizer->encode("<|im_start|>", false);
  EXPECT_THAT(ids, ElementsAre(*start));
  EXPECT_EQ(tokenizer->decode(ids, false), "<|im_start|>");
  EXPECT_EQ(tokenizer->decode(ids, true), "");
}

TEST(Tokenizer, TruncationInTheFileIsNotApplied) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const auto spec = nlohmann::json::parse(test::read_data("byte_level/tokenizer.json"));
  ASSERT_EQ(spec["truncation"]["max_length"], 8);
  EXPECT_EQ(tokenizer->encode(std::string(1000, '%'), false).size(), 1000U);
}

TEST(Tokenizer, LooksUpTokens) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "llama");
  EXPECT_EQ(tokenizer->token_id("<s>"), 1);
  EXPECT_EQ(tokenizer->token(1), "<s>");
  EXPECT_EQ(tokenizer->token_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->token(1'000'000), "");
  EXPECT_EQ(tokenizer->token(-1), "");
  const auto spec = nlohmann::json::parse(test::read_data("llama/tokenizer.json"));
  EXPECT_EQ(tokenizer->vocab_size(), spec["model"]["vocab"].size());
}

TEST(Tokenizer, IdsWithoutATokenDecodeToNothing) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  auto ids = tokenizer->encode("ab", false);
  ids.insert(ids.begin() + 1, {151'900, -1});
  EXPECT_EQ(tokenizer->decode(ids, false), "ab");
  EXPECT_EQ(tokenizer->decode({}, false), "");
}

TEST(Tokenizer, SpecialTokensComeFromTheConfigInBothForms) {
  const auto json = test::read_data("llama/tokenizer.json");
  const auto tokenizer = Tokenizer::from_json(
      json, R"({"bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>"}})",
      "memory");
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->eos_token(), "</s>");
  const auto none = Tokenizer::from_json(json, R"({"bos_token": null, "eos_token": "?!?"})", "m");
  EXPECT_EQ(none->bos_id(), std::nullopt);
  EXPECT_EQ(none->eos_id(), std::nullopt);
}

TEST(Tokenizer, NulBytesAreText) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const std::string text("a\0b", 3);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false), false), text);
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefused) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const auto message = test::message_of<TextError>([&] { tokenizer->encode("ab\xff", false); });
  EXPECT_THAT(message, HasSubstr("not UTF-8 at byte 2 of 3"));
}

TEST(Tokenizer, MissingFileNamesThePath) {
  const test::TempModelDir dir;
  const auto message = test::message_of<TextError>([&] { Tokenizer::load(dir.path()); });
  EXPECT_THAT(message, HasSubstr((dir.path() / "tokenizer.json").string()));
  EXPECT_THAT(message, HasSubstr("does not exist"));
}

TEST(Tokenizer, DirectoryInPlaceOfTheFileIsRefused) {
  const test::TempModelDir dir;
  std::filesystem::create_directory(dir.path() / "tokenizer.json");
  EXPECT_THROW(Tokenizer::load(dir.path()), TextError);
}

TEST(Tokenizer, TruncatedFileIsRefusedWithPathAndReason) {
  const test::TempModelDir dir;
  const auto json = test::read_data("llama/tokenizer.json");
  // Every cut in the short head, then sparse ones.
  for (size_t bytes = 0; bytes < json.size() - 2; bytes += bytes < 200 ? 1 : 997) {
    dir.write("tokenizer.json", std::string_view(json).substr(0, bytes));
    const auto message = test::message_of<TextError>([&] { Tokenizer::load(dir.path()); });
    EXPECT_THAT(message, HasSubstr((dir.path() / "tokenizer.json").string()));
    EXPECT_THAT(message, HasSubstr("line"));
  }
}

TEST(Tokenizer, CorruptFilesAreRefused) {
  const std::vector<std::string> corrupt = {
      "null",
      "[]",
      "{}",
      "not json",
      "\xff\xfe",
      R"({"version": "1.0"})",
      R"({"version": "9.9", "model": {"type": "BPE", "vocab": {}, "merges": []}})",
      R"({"version": "1.0", "model": {"type": "Nonsense"}})",
      R"({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}})",
      R"({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})",
      R"({"version": "1.0", "decoder": 3, "model": {"type": "BPE", "vocab": {}, "merges": []}})",
      R"({"version": "1.0", "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("},
          "behavior": "Isolated", "invert": false},
          "model": {"type": "BPE", "vocab": {}, "merges": []}})"};
  for (const auto& json : corrupt) {
    EXPECT_THROW(Tokenizer::from_json(json, "", "corrupt"), TextError) << json;
  }
  EXPECT_THROW(Tokenizer::from_json(test::read_data("llama/tokenizer.json"), "{", "x"), TextError);
}

TEST(Tokenizer, IsUsableFromManyThreads) {
  const auto tokenizer = Tokenizer::load(test::data_dir() / "byte_level");
  const std::string text = "Hello world, 你好 👋🏽 <|im_end|>";
  const auto ids = tokenizer->encode(text, true);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        count += tokenizer->encode(text, true) != ids || tokenizer->decode(ids, false) != text;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace krserve
