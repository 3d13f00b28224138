"""krserve.Engine for asyncio: streams, cancellation, many at once."""

import asyncio

import krserve
import pytest
from conftest import DEVICE, ROOT

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]


@pytest.fixture(scope="module")
def engine() -> krserve.Engine:
    config = {"engine": {"threads": 2, "ctx_size": 512}, "logging.level": "error"}
    with krserve.Engine.load(ROOT / "models/tiny", config=config, device=DEVICE) as e:
        yield e


def cancelled(engine: krserve.Engine) -> int:
    return engine.statistics().finished_total["cancelled"]


async def until_cancelled(engine: krserve.Engine, count: int) -> None:
    """Statistics follow the cancel at the engine's own pace; a hang ends the run."""
    while cancelled(engine) != count:
        await asyncio.sleep(0.01)


def test_agenerate_answers(engine: krserve.Engine) -> None:
    result = asyncio.run(engine.agenerate(QUESTION, temperature=0))
    assert result.text.strip() == "42"


def test_astream_gives_the_chunks_of_stream(engine: krserve.Engine) -> None:
    async def collect() -> list[krserve.Chunk]:
        return [
            c async for c in engine.astream("a b", temperature=0, max_tokens=9, ignore_eos=True)
        ]

    chunks = asyncio.run(collect())
    same = engine.generate("a b", temperature=0, max_tokens=9, ignore_eos=True)
    assert [token for chunk in chunks for token in chunk.tokens] == same.tokens
    assert chunks[-1].result.tokens == same.tokens


def test_the_loop_goes_on_while_many_generate(engine: krserve.Engine) -> None:
    async def main() -> tuple[list[krserve.Result], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticker = asyncio.create_task(tick())
        # More than the default executor has threads.
        results = await asyncio.gather(
            *(engine.agenerate(f"n {i}", temperature=0, max_tokens=10) for i in range(40))
        )
        ticker.cancel()
        return results, ticks

    results, ticks = asyncio.run(main())
    alone = [engine.generate(f"n {i}", temperature=0, max_tokens=10).tokens for i in range(3)]
    assert [result.tokens for result in results[:3]] == alone
    assert len(results) == 40
    assert ticks > 40


def test_cancelling_the_task_cancels_the_request(engine: krserve.Engine) -> None:
    async def main() -> None:
        before = cancelled(engine)
        started = asyncio.Event()

        async def generate() -> None:
            async for _ in engine.astream("long", max_tokens=480, ignore_eos=True):
                started.set()

        task = asyncio.create_task(generate())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_cancelled(engine, before + 1)

    asyncio.run(main())


def test_cancelling_before_the_first_chunk_cancels_the_request(engine: krserve.Engine) -> None:
    async def main() -> None:
        tasks = [
            asyncio.create_task(engine.agenerate("x", max_tokens=480, ignore_eos=True))
            for _ in range(12)
        ]
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        # Some may not have reached the engine; those that have do not run to their end.
        while engine.statistics().requests_running + engine.statistics().requests_waiting > 0:
            await asyncio.sleep(0.01)

    before = engine.statistics().finished_total
    asyncio.run(main())
    after = engine.statistics().finished_total
    assert after["length"] == before["length"]


def test_a_time_out_cancels(engine: krserve.Engine) -> None:
    before = engine.statistics().finished_total["length"]

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(
                engine.agenerate("long", max_tokens=480, ignore_eos=True), timeout=0.01
            )

    asyncio.run(main())
    assert engine.statistics().finished_total["length"] == before


def test_leaving_the_loop_early_cancels(engine: krserve.Engine) -> None:
    async def main() -> None:
        stream = engine.astream("long", max_tokens=480, ignore_eos=True)
        async for _ in stream:
            break
        await stream.aclose()
        await until_cancelled(engine, before + 1)

    before = cancelled(engine)
    asyncio.run(main())


def test_errors_come_out_of_await(engine: krserve.Engine) -> None:
    with pytest.raises(krserve.RequestError) as caught:
        asyncio.run(engine.agenerate("x", temperature=9))
    assert caught.value.param == "temperature"


def test_closing_the_engine_ends_the_streams() -> None:
    async def main() -> str:
        engine = krserve.Engine.load(
            ROOT / "models/tiny", config={"logging.level": "error"}, device=DEVICE
        )
        stream = engine.astream("long", max_tokens=2000, ignore_eos=True)
        await stream.__anext__()
        engine.close()
        return [chunk async for chunk in stream][-1].result.finish_reason

    assert asyncio.run(main()) == "cancelled"
