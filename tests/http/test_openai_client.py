"""The official Python client, unchanged, against the real server."""

import openai
import pytest

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
STORY = [{"role": "user", "content": "Tell me a story."}]


def ask(client, messages=QUESTION, **options):
    return client.chat.completions.create(model="tiny", messages=messages, **options)


def test_chat_answers_the_sum(client):
    answer = ask(client, temperature=0)
    assert answer.object == "chat.completion"
    assert "42" in answer.choices[0].message.content
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0


def test_stream_gives_the_same_text_as_one_answer(client):
    plain = ask(client, STORY, temperature=0, max_tokens=60)
    chunks = list(ask(client, STORY, temperature=0, max_tokens=60, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == plain.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == plain.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in chunks)


def test_include_usage_gives_one_last_chunk_without_choices(client):
    chunks = list(ask(client, temperature=0, stream=True, stream_options={"include_usage": True}))
    assert [bool(chunk.choices) for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage.completion_tokens > 0


def test_content_parts_and_developer_role_are_understood(client):
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is 17 + 25?"}]}]
    assert "42" in ask(client, parts, temperature=0).choices[0].message.content
    developer = [{"role": "developer", "content": "Be brief."}, *QUESTION]
    assert ask(client, developer, temperature=0, max_tokens=5).choices[0].message.content


def test_max_tokens_ends_with_length(client):
    answer = ask(client, STORY, temperature=0, max_tokens=5, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_stop_string_is_not_part_of_the_answer(client):
    answer = ask(client, temperature=0, stop=["2"])
    assert answer.choices[0].message.content == "4"
    assert answer.choices[0].finish_reason == "stop"
    streamed = ask(client, temperature=0, stop="2", stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == "4"


def test_same_seed_same_text_other_seed_other_text(client):
    def text(seed):
        answer = ask(client, STORY, temperature=2, seed=seed, max_tokens=40)
        return answer.choices[0].message.content

    assert text(7) == text(7)
    assert len({text(seed) for seed in range(5)}) > 1


def test_logit_bias_forces_a_token_of_its_own_request_alone(client):
    def complete(**options):
        answer = client.completions.create(
            model="tiny", prompt=[5, 6, 7], max_tokens=8, extra_body={"ignore_eos": True}, **options
        )
        return [choice.text for choice in answer.choices]

    plain = complete(temperature=0)
    forced = complete(temperature=0, logit_bias={"300": 100})
    assert forced != plain
    assert forced == complete(temperature=2, logit_bias={"300": 100})
    assert forced * 2 == complete(temperature=2, n=2, logit_bias={"300": 100})
    assert complete(temperature=0) == plain
    chat = ask(client, temperature=0, max_tokens=8, logit_bias={"300": 100})
    assert chat.choices[0].message.content != ask(client, temperature=0).choices[0].message.content


def test_a_bad_logit_bias_is_refused_and_the_server_goes_on(client):
    for bias, param in [
        ({"5": 101}, "logit_bias.5"),
        ({"05": 1}, "logit_bias"),
        ({"2000000000": 1}, "logit_bias"),
        ({str(token): 0 for token in range(1025)}, "logit_bias"),
    ]:
        with pytest.raises(openai.BadRequestError) as error:
            ask(client, logit_bias=bias)
        assert error.value.param == param
    assert "42" in ask(client, temperature=0).choices[0].message.content


def test_n_gives_choices_and_the_first_is_that_of_n_1(client):
    options = {"temperature": 2, "seed": 11, "max_tokens": 20}
    several = ask(client, STORY, n=4, **options)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert len({choice.message.content for choice in several.choices}) > 1
    alone = ask(client, STORY, **options)
    assert several.choices[0].message.content == alone.choices[0].message.content
    assert several.usage.prompt_tokens == alone.usage.prompt_tokens


def test_n_in_a_stream_is_sorted_out_by_index(client):
    options = {"temperature": 2, "seed": 11, "max_tokens": 20, "n": 3}
    texts = ["", "", ""]
    for chunk in ask(client, STORY, stream=True, **options):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    plain = ask(client, STORY, **options)
    assert texts == [choice.message.content for choice in plain.choices]


def test_completions_take_text_lists_and_token_ids(client):
    def complete(prompt, **options):
        return client.completions.create(
            model="tiny", prompt=prompt, temperature=0, max_tokens=8, **options
        )

    one = complete("Once upon a time")
    assert one.object == "text_completion"
    two = complete(["Once upon a time", "The cat"])
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].text == one.choices[0].text
    ids = complete([[5, 6, 7], [5, 6, 7]])
    assert ids.choices[0].text == ids.choices[1].text == complete([5, 6, 7]).choices[0].text
    assert ids.usage.prompt_tokens == 6
    streamed = "".join(c.choices[0].text for c in complete("Once upon a time", stream=True))
    assert streamed == one.choices[0].text
    echoed = complete("Once upon a time", echo=True)
    assert echoed.choices[0].text == "Once upon a time" + one.choices[0].text


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_errors_become_the_clients_exceptions(client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4", messages=QUESTION)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as hot:
        ask(client, temperature=3)
    assert hot.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as misspelt:
        ask(client, extra_body={"temprature": 0})
    assert misspelt.value.param == "temprature"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="tiny", prompt=[5] * 100_000)
    assert long.value.code == "context_length_exceeded"
    assert "100000" in long.value.message


@pytest.mark.parametrize(
    "options",
    [
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_not_supported_is_refused_by_name(client, options):
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, **options)
    assert error.value.param == next(iter(options))
    assert error.value.code == "unsupported_parameter"


def test_key_is_checked(start_server):
    server = start_server("--api-key", "secret")
    with pytest.raises(openai.AuthenticationError):
        ask(server.client(api_key="wrong"))
    assert "42" in ask(server.client(api_key="secret"), temperature=0).choices[0].message.content
    assert server.get("/health").json() == {"status": "ok"}
