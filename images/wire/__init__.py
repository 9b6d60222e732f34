"""Wires: sans-IO protocols between a client and a server.

A wire is one module of this package. It parses bytes into messages and encodes messages as bytes; it has no
socket and never waits. The servers, the swarm and the tests use the same code, so a parse error always comes
from the network or from the peer, never from two different parsers. A wire imports the standard library only.

Every wire module defines:

* ``TRANSPORT``: ``"tcp"`` or ``"udp"``;
* ``SERVER_SPEAKS_FIRST``: whether the client must read before it writes;
* ``DEFAULT_HANDLER``: the handler of a server, and of a swarm, that is not told another.

Modules whose name starts with an underscore are shared code, not wires.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

NAMES: tuple[str, ...] = tuple(sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> ModuleType:
    """Return the wire module called `name`.

    Raises:
        LookupError: There is no such wire; the message lists the known ones.
    """
    if name not in NAMES:
        raise LookupError(f"unknown wire {name!r}; known: {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name}")
