"""Engine: one model on one device, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import krserve_native as native

from .collect import Collector
from .notifier import Notifier
from .results import Chunk, GenerateOptions, Health, Message, Prompt, Result
from .settings import Config, split

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


def _prompt_fields(prompt: Prompt | None) -> dict[str, object]:
    if prompt is None:
        return {}
    if isinstance(prompt, str):
        return {"prompt": prompt}
    items = list(prompt)
    if items and all(isinstance(item, int) for item in items):
        return {"prompt_tokens": items}
    return {"messages": items}


def _ring(loop: asyncio.AbstractEventLoop, ready: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(ready.set)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more


class Engine:
    """One model on one device. Thread-safe; every wait lets other Python threads run.

    Made by `load()`. As a context manager it closes itself.
    """

    def __init__(self, core: native.Engine) -> None:
        self._core = core
        self._notifier = Notifier()

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        config: Config = None,
        preset: str = "",
        device: native.Device | str | None = None,
        progress: Callable[[float, str], object] | None = None,
    ) -> Self:
        """Loads a directory, "tiny" (the model that comes with krserve) or a Hugging Face id.

        `config`: a YAML file, or settings as in config/runtime.yaml, nested or by path
        ({"engine.threads": 2}). `preset`: all-on, realtime, batch or debug. `device`: auto, cpu,
        cuda, metal or a Device. KRSERVE_* variables and config/runtime.yaml count as for the
        program; what is given here wins. `progress` gets a fraction 0..1 and what is being done.

        Raises ModelError, ConfigError (a ValueError), DeviceError, OutOfMemoryError (a
        MemoryError); all are RuntimeErrors.
        """
        file, values = split(config)
        if isinstance(device, str):
            values.append(("engine.device", device, "device"))
            device = None
        name = "" if model is None else os.fspath(model)
        core = native.Engine(
            name, config_file=file, preset=preset, values=values, device=device, progress=progress
        )
        return cls(core)

    @property
    def model(self) -> native.ModelInfo:
        return self._core.model

    @property
    def closed(self) -> bool:
        return self._core.closed

    def generate(self, prompt: Prompt | None = None, **options: Unpack[GenerateOptions]) -> Result:
        """The whole answer to a text, a conversation or token ids.

        Raises RequestError (a ValueError; `param` names the field), OverloadError, DeviceError.
        """
        for chunk in self.stream(prompt, **options):
            if chunk.result is not None:
                return chunk.result
        raise native.Error("the generation ended without a last chunk")

    def stream(
        self, prompt: Prompt | None = None, **options: Unpack[GenerateOptions]
    ) -> Iterator[Chunk]:
        """The answer in pieces; the last one has `result`. Closing the iterator cancels."""
        return self._chunks(self._core.submit(self._params(prompt, options)))

    async def agenerate(
        self, prompt: Prompt | None = None, **options: Unpack[GenerateOptions]
    ) -> Result:
        """As generate(). Cancelling the task cancels the request."""
        result = None
        async for chunk in self.astream(prompt, **options):
            result = chunk.result
        if result is None:
            raise native.Error("the generation ended without a last chunk")
        return result

    async def astream(
        self, prompt: Prompt | None = None, **options: Unpack[GenerateOptions]
    ) -> AsyncIterator[Chunk]:
        """As stream(). Cancelling the task, or closing the iterator, cancels the request."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        token = self._notifier.add(lambda: _ring(loop, ready))
        generation = None
        try:
            params = self._params(prompt, options)
            # Tokenizing a long prompt takes time: not on the loop's thread.
            submit = functools.partial(self._core.submit, params, self._notifier.bell, token)
            generation = await loop.run_in_executor(None, submit)
            collector = Collector()
            while True:
                await ready.wait()
                ready.clear()
                for piece in generation.take():
                    chunk = collector.add(piece)
                    yield chunk
                    if chunk.result is not None:
                        return
        finally:
            self._notifier.remove(token)
            if generation is not None and not generation.finished:
                generation.cancel()

    def tokenize(
        self,
        text: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        add_special_tokens: bool | None = None,
    ) -> list[int]:
        """The ids of a text, or of a conversation in the model's chat template."""
        params: dict[str, Any] = {
            "text": text,
            "messages": messages,
            "add_special_tokens": add_special_tokens,
        }
        given = {name: value for name, value in params.items() if value is not None}
        return self._core.tokenize(json.dumps(given))

    def detokenize(self, tokens: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return self._core.detokenize(list(tokens), skip_special_tokens)

    def statistics(self) -> native.EngineStatistics:
        """Counters of the engine, its memory pool, blit queue and command ring."""
        return self._core.statistics()

    def reset_statistics(self) -> None:
        self._core.reset_statistics()

    def health(self) -> Health:
        return Health(*self._core.health())

    def drain(self, timeout: float | None = None) -> bool:
        """No new requests from here on; whether the running ones were done within `timeout` s."""
        return self._core.drain(timeout)

    def close(self) -> None:
        """Cancels what runs and frees the device's memory. May be called twice."""
        self._core.close()
        # After the last chunks, which tasks are still to be told of.
        self._notifier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        notifier = getattr(self, "_notifier", None)
        if notifier is not None:
            notifier.close()

    @staticmethod
    def _params(prompt: Prompt | None, options: Mapping[str, Any]) -> str:
        return json.dumps(_prompt_fields(prompt) | dict(options))

    @staticmethod
    def _chunks(generation: native.Generation) -> Iterator[Chunk]:
        collector = Collector()
        try:
            while generation.wait():
                for piece in generation.take():
                    chunk = collector.add(piece)
                    yield chunk
                    if chunk.result is not None:
                        return
        finally:
            if not generation.finished:
                generation.cancel()
