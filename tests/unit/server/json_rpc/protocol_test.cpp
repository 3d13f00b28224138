#include "server/json_rpc/protocol.h"

#include <gmock/gmock.h>

#include <random>

namespace krserve::server::rpc {
namespace {

using ::testing::HasSubstr;

Frame parsed(std::string_view text) {
  return parse_frame(text);
}

const Request& request_of(const Frame& frame, size_t index = 0) {
  return std::get<Request>(frame.entries.at(index));
}

const Refusal& refusal_of(const Frame& frame, size_t index = 0) {
  return std::get<Refusal>(frame.entries.at(index));
}

ErrorCode code_of(std::string_view text) {
  try {
    parse_frame(text);
  } catch (const RpcError& error) {
    return error.code();
  }
  ADD_FAILURE() << text << " was not refused";
  return ErrorCode::kInternal;
}

TEST(Frame, RequestHasMethodParamsAndId) {
  const Frame frame = parsed(R"({"jsonrpc":"2.0","id":7,"method":"m","params":{"a":1}})");
  EXPECT_FALSE(frame.batch);
  EXPECT_EQ(request_of(frame).method, "m");
  EXPECT_EQ(request_of(frame).params, Json({{"a", 1}}));
  EXPECT_EQ(request_of(frame).id, Json(7));
}

TEST(Frame, WithoutParamsTheyAreAnEmptyObject) {
  EXPECT_EQ(request_of(parsed(R"({"jsonrpc":"2.0","id":7,"method":"m"})")).params, Json::object());
}

TEST(Frame, IdNullIsARequestAndNoIdANotification) {
  EXPECT_EQ(request_of(parsed(R"({"jsonrpc":"2.0","id":null,"method":"m"})")).id, Json(nullptr));
  EXPECT_EQ(request_of(parsed(R"({"jsonrpc":"2.0","method":"m"})")).id, std::nullopt);
}

TEST(Frame, LargeIdsKeepTheirValue) {
  const Frame frame = parsed(R"({"jsonrpc":"2.0","id":18446744073709551615,"method":"m"})");
  EXPECT_THAT(result_text(*request_of(frame).id, {}), HasSubstr(R"("id":18446744073709551615)"));
}

TEST(Frame, RefusalsKeepAUsableId) {
  EXPECT_EQ(refusal_of(parsed(R"({"id":"x","method":"m"})")).id, Json("x"));
  EXPECT_EQ(refusal_of(parsed(R"({"id":{},"method":"m"})")).id, Json(nullptr));
  EXPECT_EQ(refusal_of(parsed(R"({"jsonrpc":"2.0","id":1.5,"method":"m"})")).id, Json(nullptr));
  EXPECT_EQ(refusal_of(parsed("3")).id, Json(nullptr));
}

TEST(Frame, IdsHaveALength) {
  const auto with_id = [](size_t length) {
    return parsed(R"({"jsonrpc":"2.0","method":"m","id":")" + std::string(length, 'x') + "\"}");
  };
  EXPECT_EQ(request_of(with_id(kMaxIdBytes)).id->get<std::string>().size(), kMaxIdBytes);
  EXPECT_EQ(refusal_of(with_id(kMaxIdBytes + 1)).error.code(), ErrorCode::kInvalidRequest);
}

TEST(Frame, BatchKeepsItsOrderAndItsNonsense) {
  const Frame frame = parsed(R"([{"jsonrpc":"2.0","id":1,"method":"a"},5,
                                 {"jsonrpc":"2.0","method":"b"}])");
  EXPECT_TRUE(frame.batch);
  ASSERT_EQ(frame.entries.size(), 3U);
  EXPECT_EQ(request_of(frame, 0).method, "a");
  EXPECT_EQ(refusal_of(frame, 1).error.code(), ErrorCode::kInvalidRequest);
  EXPECT_EQ(request_of(frame, 2).method, "b");
}

TEST(Frame, BatchHasALeastAndAMostLength) {
  const auto batch = [](size_t length) {
    std::string text = "[";
    for (size_t i = 0; i < length; ++i) text += i == 0 ? "1" : ",1";
    return text + "]";
  };
  EXPECT_EQ(code_of(batch(0)), ErrorCode::kInvalidRequest);
  EXPECT_EQ(parsed(batch(kMaxBatch)).entries.size(), kMaxBatch);
  EXPECT_EQ(code_of(batch(kMaxBatch + 1)), ErrorCode::kInvalidRequest);
}

TEST(Frame, WhatIsNotJsonIsAParseErrorWithItsPlace) {
  EXPECT_EQ(code_of(""), ErrorCode::kParse);
  EXPECT_EQ(code_of("{\"a\": \"\xff\"}"), ErrorCode::kParse);
  EXPECT_EQ(code_of(std::string_view("{}\0", 3)), ErrorCode::kParse);
  try {
    parse_frame(R"({"a" 1})");
  } catch (const RpcError& error) {
    EXPECT_THAT(error.message(), HasSubstr("line 1 column 6"));
  }
}

TEST(Frame, DeepNestingIsRefusedBeforeItIsWalked) {
  EXPECT_EQ(code_of(std::string(1'000'000, '[')), ErrorCode::kInvalidRequest);
}

// Whatever comes, it is a frame or an RpcError.
TEST(Frame, RandomDamageNeverGetsThrough) {
  const std::string whole =
      R"([{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[1,"ü",null]}}])";
  std::mt19937 random(6);
  for (int i = 0; i < 20'000; ++i) {
    std::string text = whole;
    for (uint32_t n = random() % 4; n > 0; --n) {
      const size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = static_cast<char>(random());
      } else {
        text.erase(at, 1 + random() % 3);
      }
    }
    try {
      parse_frame(text);
    } catch (const RpcError&) {
    }
  }
}

TEST(Answer, ResultAndErrorAreOneLineEach) {
  EXPECT_EQ(result_text("a", {{"x", 1}, {"b", "line\nbreak"}}),
            R"({"jsonrpc":"2.0","id":"a","result":{"x":1,"b":"line\nbreak"}})");
  EXPECT_EQ(error_text(nullptr, {ErrorCode::kDevice, "lost", {{"queue", 1}}}),
            R"({"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"lost",)"
            R"("data":{"kind":"device_error","queue":1}}})");
  EXPECT_EQ(notification_text("n", {{"x", 1}}),
            R"({"jsonrpc":"2.0","method":"n","params":{"x":1}})");
}

TEST(Answer, IllFormedTextIsReplaced) {
  EXPECT_THAT(result_text(1, {{"x", "a\xff"}}), HasSubstr("a\xEF\xBF\xBD"));
}

template <class E>
ErrorCode code_for(const E& exception) {
  try {
    throw exception;
  } catch (...) {
    return current_exception_as_rpc_error().code();
  }
}

TEST(Errors, EachExceptionHasItsCode) {
  EXPECT_EQ(code_for(RequestError("a", "b")), ErrorCode::kInvalidParams);
  EXPECT_EQ(code_for(ModelError("a", "b")), ErrorCode::kModelLoad);
  EXPECT_EQ(code_for(OutOfMemoryError("a", "b")), ErrorCode::kOutOfMemory);
  EXPECT_EQ(code_for(std::bad_alloc()), ErrorCode::kOutOfMemory);
  EXPECT_EQ(code_for(OverloadError("a", "b")), ErrorCode::kOverloaded);
  EXPECT_EQ(code_for(DeviceError("a", "b")), ErrorCode::kDevice);
  EXPECT_EQ(code_for(TimeoutError("a", "b")), ErrorCode::kRequestFailed);
  EXPECT_EQ(code_for(ConfigError("a", "b")), ErrorCode::kConfig);
  EXPECT_EQ(code_for(std::runtime_error("a")), ErrorCode::kInternal);
  EXPECT_EQ(code_for(3), ErrorCode::kInternal);
}

}  // namespace
}  // namespace krserve::server::rpc
