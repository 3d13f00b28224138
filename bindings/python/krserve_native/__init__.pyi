"""krserve's execution layer: memory pool, blit queue and command ring, on CPU, CUDA and Metal."""

from ._native import *  # noqa: F403

__version__: str
__all__: list[str]
