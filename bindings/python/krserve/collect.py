"""Turns the engine's chunks into krserve's."""

from __future__ import annotations

import krserve_native as native

from .results import Chunk, Result, Timings, Usage

_ERRORS: dict[str, type[native.Error]] = {
    "device": native.DeviceError,
    "timeout": native.WaitTimeoutError,
    "out_of_memory": native.OutOfMemoryError,
}


class Collector:
    """Counts and keeps what one generation has put out."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._index = 0

    def add(self, chunk: native.GenerationChunk) -> Chunk:
        """Raises what the generation failed of."""
        reason = chunk.finish_reason
        if reason == "error":
            raise _ERRORS.get(chunk.error_kind, native.Error)(chunk.error)
        self._text.append(chunk.text)
        self._tokens.extend(chunk.tokens)
        result = None if reason is None else self._result(chunk, reason)
        made = Chunk(self._index, chunk.text, chunk.tokens, result)
        self._index += 1
        return made

    def _result(self, last: native.GenerationChunk, reason: str) -> Result:
        usage = Usage(last.prompt_tokens, last.completion_tokens, last.cached_tokens)
        times = last.timings
        steps = max(last.completion_tokens - 1, 0)
        seconds = times["decode_ms"] / 1000
        rate = steps / seconds if seconds > 0 else 0.0
        timings = Timings(**times, tokens_per_second=rate)
        return Result("".join(self._text), self._tokens, reason, usage, timings)
