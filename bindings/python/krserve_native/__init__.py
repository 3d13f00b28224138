"""krserve's execution layer: memory pool, blit queue and command ring, on CPU, CUDA and Metal."""

from . import _native
from ._native import *  # noqa: F403
from ._native import __version__ as __version__

__all__ = [name for name in dir(_native) if not name.startswith("_")]

for _name in __all__:
    _item = getattr(_native, _name)
    if isinstance(_item, type):
        _item.__module__ = __name__
del _name, _item
