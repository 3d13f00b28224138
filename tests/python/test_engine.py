"""krserve.Engine for threads: generation, errors, statistics, closing."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import krserve
import pytest
from conftest import DEVICE, ROOT, run_threads, steps_of_another_thread

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
CONFIG = {"engine": {"threads": 2, "ctx_size": 512}, "logging.level": "error"}


@pytest.fixture(scope="module")
def engine() -> krserve.Engine:
    with krserve.Engine.load(
        ROOT / "models/tiny", config=CONFIG, preset="all-on", device=DEVICE
    ) as e:
        yield e


def test_a_conversation_is_answered(engine: krserve.Engine) -> None:
    result = engine.generate(QUESTION, temperature=0, max_tokens=16)
    assert result.text.strip() == "42"
    assert result.finish_reason == "stop"
    assert result.usage.completion_tokens == len(result.tokens)
    assert result.usage.total_tokens == result.usage.prompt_tokens + len(result.tokens)
    assert result.timings.total_ms >= result.timings.ttft_ms > 0


def test_chunks_add_up_to_the_result(engine: krserve.Engine) -> None:
    whole = engine.generate("one two three", temperature=0, max_tokens=20, ignore_eos=True)
    chunks = list(engine.stream("one two three", temperature=0, max_tokens=20, ignore_eos=True))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [token for chunk in chunks for token in chunk.tokens] == whole.tokens
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.result is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert len(chunks) > 3
    assert chunks[-1].result.finish_reason == "length"


def test_text_and_its_token_ids_give_the_same(engine: krserve.Engine) -> None:
    ids = engine.tokenize("one two")
    by_text = engine.generate("one two", temperature=0, max_tokens=8)
    by_ids = engine.generate(ids, temperature=0, max_tokens=8)
    assert by_text.tokens == by_ids.tokens
    assert engine.detokenize(ids) == "one two"
    assert engine.detokenize(by_text.tokens) == by_text.text


def test_tokenize_takes_conversations(engine: krserve.Engine) -> None:
    tokens = engine.tokenize(messages=QUESTION)
    by_chat = engine.generate(QUESTION, temperature=0, max_tokens=4)
    assert engine.generate(tokens, temperature=0, max_tokens=4).tokens == by_chat.tokens
    assert by_chat.usage.prompt_tokens == len(tokens)


def test_a_seed_repeats_a_draw(engine: krserve.Engine) -> None:
    draws = [
        engine.generate("a", temperature=1.5, seed=seed, max_tokens=24, ignore_eos=True).tokens
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("prompt", "options", "param"),
    [
        ("x", {"temperature": 3}, "temperature"),
        ("x", {"temperature": "hot"}, "temperature"),
        ("x", {"top_p": 0}, "top_p"),
        ("x", {"stop": [""]}, "stop[0]"),
        ("x", {"tempreature": 1}, "tempreature"),
        ("x", {"max_tokens": 100000}, "prompt"),
        ([{"role": "wizard", "content": "x"}], {}, "messages[0].role"),
        ([10**9], {}, "prompt_tokens"),
        (None, {}, "prompt"),
    ],
)
def test_a_wrong_field_is_a_value_error_that_names_it(
    engine: krserve.Engine, prompt: object, options: dict, param: str
) -> None:
    with pytest.raises(ValueError) as caught:
        engine.generate(prompt, **options)
    assert isinstance(caught.value, krserve.RequestError)
    assert caught.value.param == param


def _cancelled(engine: krserve.Engine) -> int:
    return engine.statistics().finished_total["cancelled"]


def _wait_until_cancelled(engine: krserve.Engine, count: int) -> None:
    """Statistics follow the cancel at the engine's own pace; a hang ends the run."""
    pause = threading.Event()
    while _cancelled(engine) != count:
        pause.wait(0.01)


def test_closing_the_stream_cancels(engine: krserve.Engine) -> None:
    before = _cancelled(engine)
    stream = engine.stream("one two", max_tokens=400, ignore_eos=True)
    next(stream)
    stream.close()
    _wait_until_cancelled(engine, before + 1)


def test_dropping_the_stream_before_its_first_chunk_cancels(engine: krserve.Engine) -> None:
    before = _cancelled(engine)
    engine.stream("one two", max_tokens=400, ignore_eos=True)
    _wait_until_cancelled(engine, before + 1)


def test_threads_generate_at_once_and_get_what_they_would_get_alone(
    engine: krserve.Engine,
) -> None:
    prompts = [f"number {i}" for i in range(8)]
    alone = [engine.generate(p, temperature=0, max_tokens=12).tokens for p in prompts]
    together: list[list[int] | None] = [None] * len(prompts)

    def work(index: int) -> None:
        together[index] = engine.generate(prompts[index], temperature=0, max_tokens=12).tokens

    run_threads(len(prompts), work)
    assert together == alone


def test_waiting_for_a_chunk_lets_other_threads_run(engine: krserve.Engine) -> None:
    prompt = engine.tokenize("word " * 300)[:480]
    generation = engine._core.submit(
        krserve.Engine._params(prompt, {"max_tokens": 8, "ignore_eos": True})
    )
    assert steps_of_another_thread(generation.wait) > 0


def test_loading_lets_other_threads_run() -> None:
    def load() -> None:
        krserve.Engine.load(ROOT / "models/tiny", config=CONFIG, device=DEVICE).close()

    assert steps_of_another_thread(load) > 0


def test_statistics_have_the_three_components(engine: krserve.Engine) -> None:
    engine.reset_statistics()
    engine.generate("count", temperature=0, max_tokens=8, ignore_eos=True)
    statistics = engine.statistics()
    assert statistics.generation_tokens_total == 8
    assert statistics.memory_pool.enabled and statistics.memory_pool.utilization > 0
    assert statistics.blit_queue.total_uploads > 0
    assert statistics.command_buffer_ring.total_acquisitions > 0
    values = statistics.as_dict()
    assert values["memory_pool"]["total_heaps"] == statistics.memory_pool.total_heaps
    assert {row["metric"] for row in statistics.status} >= {"hit_rate", "overlap_ratio"}


def test_health_and_model_tell_what_is_there(engine: krserve.Engine) -> None:
    health = engine.health()
    assert health.status == "ok"
    assert "pool: " in health.detail
    assert engine.model.name == "tiny"
    assert engine.model.architecture == "qwen2"
    assert engine.model.context_length == 512


def test_load_reports_progress_and_finds_the_model_that_comes_with_it() -> None:
    seen: list[float] = []
    with krserve.Engine.load(
        "tiny", config=CONFIG, device=DEVICE, progress=lambda fraction, what: seen.append(fraction)
    ) as engine:
        assert engine.generate(QUESTION, temperature=0).text.strip() == "42"
    assert seen and seen == sorted(seen) and seen[-1] <= 1


def test_progress_that_raises_ends_the_load() -> None:
    def progress(fraction: float, what: str) -> None:
        raise KeyError(what)

    with pytest.raises(KeyError):
        krserve.Engine.load(ROOT / "models/tiny", config=CONFIG, device=DEVICE, progress=progress)


def test_a_configuration_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("engine:\n  ctx_size: 128\n  threads: 1\nlogging:\n  level: error\n")
    with krserve.Engine.load(ROOT / "models/tiny", config=file, device=DEVICE) as engine:
        assert engine.model.context_length == 128


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model": "no/such/directory/here"}, krserve.ModelError, "no/such"),
        ({"config": {"engine": {"threads": -1}}}, ValueError, "engine.threads"),
        ({"config": {"engine": {"thread": 1}}}, ValueError, "did you mean"),
        ({"preset": "fast"}, ValueError, "fast"),
        ({"device": "tpu"}, ValueError, "tpu"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    arguments: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        krserve.Engine.load(**{"model": ROOT / "models/tiny", **arguments})
    assert words in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_closing_ends_what_runs_and_may_be_repeated() -> None:
    engine = krserve.Engine.load(ROOT / "models/tiny", config=CONFIG, device=DEVICE)
    stream = engine.stream("one", max_tokens=400, ignore_eos=True)
    next(stream)
    engine.close()
    engine.close()
    assert engine.closed
    last = list(stream)[-1]
    assert last.result.finish_reason == "cancelled"
    with pytest.raises(RuntimeError, match="closed"):
        engine.generate("x")


def test_ctrl_c_ends_a_generation() -> None:
    code = (
        # Python leaves a Ctrl-C alone that whoever started it ignores, as shells do for background jobs.
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import krserve\n"
        f"engine = krserve.Engine.load({str(ROOT / 'models/tiny')!r}, device={DEVICE!r})\n"
        "stream = engine.stream('x', ignore_eos=True)\n"
        "next(stream)\n"
        "print('ready', flush=True)\n"
        "for _ in range(1000):\n"
        "    engine.generate('x', ignore_eos=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in log
    assert process.returncode != 0


def test_a_drained_engine_refuses_new_requests() -> None:
    with krserve.Engine.load(ROOT / "models/tiny", config=CONFIG, device=DEVICE) as engine:
        assert engine.drain(timeout=10)
        with pytest.raises(krserve.OverloadError):
            engine.generate("x")
