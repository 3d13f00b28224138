#include "server/http/message.h"

#include <gtest/gtest.h>

#include "server/http/handlers.h"
#include "server/http/router.h"
#include "server/openai/api_error.h"

namespace krserve::server {
namespace {

TEST(RequestId, UsableOneIsKept) {
  EXPECT_EQ(choose_request_id("abc-1.2_3:/+="), "abc-1.2_3:/+=");
}

TEST(RequestId, UnusableOneIsReplaced) {
  for (const std::string& id : {std::string(), std::string("a b"), std::string("a\r\nX: y"),
                                std::string("\xff"), std::string(129, 'a')}) {
    const std::string chosen = choose_request_id(id);
    EXPECT_NE(chosen, id);
    EXPECT_TRUE(chosen.starts_with("req-"));
  }
  EXPECT_NE(choose_request_id(""), choose_request_id(""));
}

TEST(PercentDecode, DecodesAndLeavesMalformedEscapes) {
  EXPECT_EQ(percent_decode("a%2Fb%20c"), "a/b c");
  EXPECT_EQ(percent_decode("%zz%2"), "%zz%2");
}

TEST(Router, KnowsEveryEndpoint) {
  EXPECT_EQ(find_route("POST", "/v1/chat/completions").endpoint, Endpoint::kChatCompletions);
  EXPECT_EQ(find_route("POST", "/v1/completions").endpoint, Endpoint::kCompletions);
  EXPECT_EQ(find_route("GET", "/v1/models").endpoint, Endpoint::kModels);
  EXPECT_EQ(find_route("HEAD", "/health").endpoint, Endpoint::kHealth);
  EXPECT_EQ(find_route("GET", "/nothing").endpoint, Endpoint::kNotFound);
  EXPECT_EQ(find_route("GET", "/v1/models/a%2Fb").model, "a/b");
  EXPECT_EQ(find_route("GET", "/v1/models/org/name").model, "org/name");
}

TEST(Router, WrongMethodIsToldFromUnknownPath) {
  const Route route = find_route("GET", "/v1/chat/completions");
  EXPECT_FALSE(route.method_allowed);
  EXPECT_EQ(route.allowed, "POST, OPTIONS");
  EXPECT_FALSE(find_route("POST", "/health").method_allowed);
}

TEST(Router, UnknownPathsShareOneMetricLabel) {
  EXPECT_EQ(find_route("GET", "/a").metric_path, find_route("GET", "/b").metric_path);
}

TEST(Authorization, NeedsTheExactKey) {
  EXPECT_TRUE(authorized("Bearer secret", "secret"));
  EXPECT_TRUE(authorized("bearer secret", "secret"));
  EXPECT_TRUE(authorized("", ""));
  for (const char* header : {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets",
                             "Bearer secretsecret", "Basic secret"}) {
    EXPECT_FALSE(authorized(header, "secret")) << header;
  }
}

TEST(ApiError, BodyHasOpenAisShape) {
  EXPECT_EQ(ApiError(400, "no \"x\"", "n", "invalid_value").body(),
            R"({"error":{"message":"no \"x\"","type":"invalid_request_error",)"
            R"("param":"n","code":"invalid_value"}})");
  EXPECT_EQ(ApiError(500, "m").body(),
            R"({"error":{"message":"m","type":"server_error","param":null,"code":null}})");
}

template <class E>
ApiError mapped(const E& error, bool draining = false) {
  try {
    throw error;
  } catch (...) {
    return current_exception_as_api_error(draining);
  }
}

TEST(ApiError, EngineErrorsHaveTheirStatusAndNoPrefix) {
  EXPECT_EQ(mapped(RequestError("engine.submit", "bad")).status(), 400);
  EXPECT_EQ(mapped(RequestError("engine.submit", "bad")).message(), "bad");
  EXPECT_EQ(mapped(OverloadError("engine.submit", "full")).status(), 429);
  EXPECT_EQ(mapped(OverloadError("engine.submit", "full"), true).status(), 503);
  EXPECT_EQ(mapped(OutOfMemoryError("pool", "none")).status(), 503);
  EXPECT_EQ(mapped(std::runtime_error("odd")).status(), 500);
  EXPECT_EQ(mapped(5).status(), 500);
}

}  // namespace
}  // namespace krserve::server
