"""Wires: what the bytes on a connection mean, without any I/O.

A wire is one module of this package: bytes in, messages out, and messages in, bytes out. The servers, the
swarm and the tests share it, so that both ends can only disagree about the network. A wire imports the
standard library alone and never touches a socket or waits.

Every wire module states:

* ``TRANSPORT``: ``"tcp"`` or ``"udp"``;
* ``SERVER_SPEAKS_FIRST``: whether a client has to read before it writes.

Modules whose name starts with an underscore are shared parts, not wires.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

NAMES: tuple[str, ...] = tuple(sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> ModuleType:
    """Return the wire module called `name`.

    Raises:
        LookupError: there is no such wire; the message lists those that exist.
    """
    if name not in NAMES:
        raise LookupError(f"unknown wire {name!r}; known: {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name}")
