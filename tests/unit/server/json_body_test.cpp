#include "server/openai/json_body.h"

#include <gmock/gmock.h>

#include "server/openai/api_error.h"

namespace krserve::server {
namespace {

using ::testing::HasSubstr;

ApiError refusal(const std::string& body) {
  try {
    parse_json_object(body);
  } catch (const ApiError& error) {
    return error;
  }
  ADD_FAILURE() << "accepted: " << body.substr(0, 100);
  return ApiError(0, "accepted");
}

TEST(JsonBody, ObjectIsParsed) {
  EXPECT_EQ(parse_json_object(R"({"a": [1, 2.5, "\u00e9"]})")["a"][2], "é");
}

TEST(JsonBody, SyntaxErrorNamesLineColumnAndByte) {
  const ApiError error = refusal("{\n  \"a\": ,\n}");
  EXPECT_EQ(error.status(), 400);
  EXPECT_EQ(error.code(), "invalid_json");
  EXPECT_THAT(error.message(), HasSubstr("line 2 column 8 (byte 9)"));
}

TEST(JsonBody, TruncatedAndEmptyBodiesAreRefused) {
  EXPECT_EQ(refusal("").status(), 400);
  EXPECT_EQ(refusal("{\"a\":").status(), 400);
  EXPECT_EQ(refusal("{} x").status(), 400);
}

TEST(JsonBody, InvalidUtf8IsRefused) {
  EXPECT_EQ(refusal("{\"a\":\"\xff\xfe\"}").status(), 400);
  EXPECT_EQ(refusal("{\"a\":\"\xc3\"}").status(), 400);
  EXPECT_EQ(refusal(R"({"a":"\ud800"})").status(), 400);
}

TEST(JsonBody, OtherThanAnObjectIsRefused) {
  EXPECT_EQ(refusal("[1]").status(), 400);
  EXPECT_EQ(refusal("\"text\"").status(), 400);
}

TEST(JsonBody, NumberTooLargeForADoubleIsRefused) {
  EXPECT_EQ(refusal(R"({"temperature":1e999})").status(), 400);
}

TEST(JsonBody, NestingAtTheLimitIsAcceptedAndBeyondItRefused) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(static_cast<size_t>(depth) - 1, '[') +
           std::string(static_cast<size_t>(depth) - 1, ']') + "}";
  };
  EXPECT_NO_THROW(parse_json_object(nested(kMaxJsonDepth)));
  EXPECT_THAT(refusal(nested(kMaxJsonDepth + 1)).message(), HasSubstr("nested deeper"));
  EXPECT_EQ(refusal(nested(1'000'000)).status(), 400);
}

}  // namespace
}  // namespace krserve::server
