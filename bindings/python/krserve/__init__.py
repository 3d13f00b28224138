"""krserve: load a model, generate text, see what the execution layer does.

>>> import krserve
>>> with krserve.Engine.load("tiny") as engine:
...     engine.generate([{"role": "user", "content": "What is 17 + 25?"}], temperature=0).text
'42'
"""

from krserve_native import (
    ConfigError,
    DeviceError,
    Error,
    ModelError,
    OutOfMemoryError,
    OverloadError,
    RequestError,
    TextError,
    WaitTimeoutError,
    __version__,
)

from .engine import Engine
from .results import Chunk, GenerateOptions, Health, Message, Prompt, Result, Timings, Usage

__all__ = [
    "Chunk",
    "ConfigError",
    "DeviceError",
    "Engine",
    "Error",
    "GenerateOptions",
    "Health",
    "Message",
    "ModelError",
    "OutOfMemoryError",
    "OverloadError",
    "Prompt",
    "RequestError",
    "Result",
    "TextError",
    "Timings",
    "Usage",
    "WaitTimeoutError",
    "__version__",
]
