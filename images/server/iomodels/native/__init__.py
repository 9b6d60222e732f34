"""Bindings to what the standard library leaves out, and code that models share: model files read as servers.

A module per interface: the structures and constants of the C headers, and functions that raise OSError.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


class MissingFeature(Exception):
    """The kernel, the C library or the container lacks what the model needs; the message says what."""


def checked(result: int) -> int:
    """Return the result of a C call; if it is -1, raise the OSError of errno."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
