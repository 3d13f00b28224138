"""What goes into a generation and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Union

# {"role": "user", "content": "..."}, as in the HTTP API.
Message = Mapping[str, Any]
# Text as it is, a conversation for the model's chat template, or token ids.
Prompt = Union[str, Sequence[Message], Sequence[int]]


class GenerateOptions(TypedDict, total=False):
    """Names, ranges and defaults of the HTTP API."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    logit_bias: Mapping[str, float]
    ignore_eos: bool
    chat_template_kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """Tokens of a generation; `cached_tokens` are those of the prompt whose KV was reused."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Timings:
    """Durations on the host's clock, in milliseconds."""

    queue_ms: float
    prefill_ms: float
    decode_ms: float
    ttft_ms: float
    total_ms: float
    tokens_per_second: float  # of decoding: the first token belongs to prefill


@dataclass(frozen=True)
class Result:
    """A whole generation. `finish_reason`: "stop", "length" or "cancelled"."""

    text: str
    tokens: list[int]
    finish_reason: str
    usage: Usage
    timings: Timings


@dataclass(frozen=True)
class Chunk:
    """A piece of a streamed generation. The last one has `result`."""

    index: int
    text: str
    tokens: list[int]
    result: Result | None = None


@dataclass(frozen=True)
class Health:
    """`status`: "ok", "loading", "draining", "stalled" or "failed".

    `detail`: the state of ring, pool and blit queue behind it.
    """

    status: str
    detail: str
