#include "text/chat_template.h"

#include <gmock/gmock.h>

#include "text/text_error.h"
#include "text_fixtures.h"

namespace krserve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kUser = R"([{"role": "user", "content": "hi"}])";

std::string render_source(std::string_view source, const RenderOptions& options = {}) {
  return ChatTemplate::from_source(source, "", "test")->render(kUser, options);
}

TEST(ChatTemplate, RendersAsTransformersDoes) {
  ASSERT_GE(test::expected()["renders"].size(), 12U);
  for (const auto& entry : test::expected()["renders"]) {
    const auto name = entry["template"].get<std::string>();
    SCOPED_TRACE(name + ": " + entry["messages"].dump());
    const auto chat_template =
        ChatTemplate::from_source(test::read_data("templates/" + name + ".jinja"), "", name);
    RenderOptions options;
    options.tools_json = entry["tools"].is_null() ? "" : entry["tools"].dump();
    options.kwargs_json = entry["variables"].dump();
    options.add_generation_prompt = entry["add"].get<bool>();
    EXPECT_EQ(chat_template->render(entry["messages"].dump(), options),
              entry["expected"].get<std::string>());
  }
}

TEST(ChatTemplate, SourcesAreTriedInTheOrderOfTransformers) {
  const test::TempModelDir dir;
  const auto load = [&] { return ChatTemplate::load(dir.path())->render(kUser); };
  dir.write("tokenizer_config.json", R"({"chat_template": "config {{ eos_token }}",
      "eos_token": {"content": "</s>"}, "bos_token": null})");
  EXPECT_EQ(load(), "config </s>");
  dir.write("chat_template.json", R"({"chat_template": "json {{ eos_token }}"})");
  EXPECT_EQ(load(), "json </s>");
  dir.write("chat_template.jinja", "jinja {{ eos_token }}{{ bos_token is defined }}\n");
  EXPECT_EQ(load(), "jinja </s>False");
}

TEST(ChatTemplate, OfNamedTemplatesDefaultIsTaken) {
  const test::TempModelDir dir;
  dir.write("tokenizer_config.json", R"({"chat_template": [
      {"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]})");
  EXPECT_EQ(ChatTemplate::load(dir.path())->render(kUser), "plain");
}

TEST(ChatTemplate, NamedTemplatesWithoutDefaultAreRefused) {
  const test::TempModelDir dir;
  dir.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  const auto message = test::message_of<TextError>([&] { ChatTemplate::load(dir.path()); });
  EXPECT_THAT(message, AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("default")));
}

TEST(ChatTemplate, ModelWithoutTemplateSaysWhatToDo) {
  const test::TempModelDir dir;
  const auto load = [&] { ChatTemplate::load(dir.path()); };
  EXPECT_THAT(test::message_of<MissingTemplateError>(load),
              AllOf(HasSubstr(dir.path().string()), HasSubstr("chat_template.jinja")));
  dir.write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_THROW(load(), MissingTemplateError);
}

TEST(ChatTemplate, CorruptFilesNamePathAndReason) {
  const test::TempModelDir dir;
  const auto message = [&] {
    return test::message_of<TextError>([&] { ChatTemplate::load(dir.path()); });
  };
  dir.write("tokenizer_config.json", R"({"chat_template": "x)");
  EXPECT_THAT(message(), AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("not valid JSON")));
  dir.write("tokenizer_config.json", "[]");
  EXPECT_THAT(message(), HasSubstr("JSON object"));
  dir.write("tokenizer_config.json", "{}");
  dir.write("chat_template.jinja", "\n{% for m in messages %}{{ m.content ");
  EXPECT_THAT(message(), AllOf(HasSubstr("chat_template.jinja"), HasSubstr("line 2")));
  dir.write("chat_template.jinja", "\xff");
  EXPECT_THAT(message(), HasSubstr("not UTF-8"));
}

TEST(ChatTemplate, KwargsWinOverTheModelsSpecialTokens) {
  const auto chat_template =
      ChatTemplate::from_source("{{ bos_token }} {{ x }}", R"({"bos_token": "<s>"})", "test");
  EXPECT_EQ(chat_template->render(kUser, {.tools_json = "", .kwargs_json = R"({"x": 1})"}),
            "<s> 1");
  EXPECT_EQ(
      chat_template->render(kUser, {.tools_json = "", .kwargs_json = R"({"bos_token": "B"})"}),
      "B ");
}

TEST(ChatTemplate, RaiseExceptionIsAnErrorOfTheInput) {
  const auto message = test::message_of<ChatInputError>(
      [] { render_source("{{ raise_exception('roles must alternate') }}"); });
  EXPECT_THAT(message, HasSubstr("roles must alternate"));
}

TEST(ChatTemplate, BadInputIsAnErrorOfTheInput) {
  const auto chat_template = ChatTemplate::from_source("x", "", "test");
  const auto with = [&](const char* messages, const char* tools, const char* kwargs) {
    return test::message_of<ChatInputError>(
        [&] { chat_template->render(messages, {.tools_json = tools, .kwargs_json = kwargs}); });
  };
  EXPECT_THAT(with("[", "", ""), HasSubstr("messages"));
  EXPECT_THAT(with("", "", ""), HasSubstr("messages"));
  EXPECT_THAT(with("{}", "", ""), HasSubstr("array"));
  EXPECT_THAT(with("[]", "{}", ""), HasSubstr("tools"));
  EXPECT_THAT(with("[]", "", "[]"), HasSubstr("object"));
  EXPECT_THAT(with("[]", "", R"({"messages": []})"), HasSubstr("messages"));
  EXPECT_THAT(with(std::string(100'000, '[').c_str(), "", ""), HasSubstr("recursion"));
}

TEST(ChatTemplate, FailureWhileRenderingNamesTheLine) {
  const auto message = test::message_of<TextError>([] { render_source("\n{{ messages.a.b }}"); });
  EXPECT_THAT(message, HasSubstr("line 2"));
}

TEST(ChatTemplate, TextOfMessagesIsNeverTemplateCode) {
  const auto chat_template = ChatTemplate::from_source("{{ messages[0].content }}", "", "test");
  EXPECT_EQ(chat_template->render(R"([{"content": "{{ 1 + 1 }}<b>&'\""}])"), "{{ 1 + 1 }}<b>&'\"");
}

}  // namespace
}  // namespace krserve
