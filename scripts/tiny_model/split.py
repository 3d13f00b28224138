"""The rule that keeps held-out questions out of the training data.

A question is held out when the CRC-32 of its canonical key is divisible by 20 (5 % of all).
Sums and differences share one key per unordered pair of operands: if 17 + 58 is held out, so are
58 + 17, 17 - 58 and 58 - 17, in every phrasing. Pairs of two one-digit numbers are always trained:
there are only 55 of them.
"""

import zlib

HELDOUT_MODULUS = 20


def _held_out(key):
    return zlib.crc32(key.encode("utf-8")) % HELDOUT_MODULUS == 0


def pair_held_out(a, b):
    """True when questions on the operands a and b (any order, + or -) are for testing only."""
    if a < 10 and b < 10:
        return False
    return _held_out(f"pair:{min(a, b)}:{max(a, b)}")


def text_held_out(task, text):
    """True when this text (words of a list, a story, a record) is for testing only."""
    return _held_out(f"{task}:{text}")
