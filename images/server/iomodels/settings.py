"""A server's settings: a flag, else the ``LAB_…`` environment variable, else the default."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field

from iomodels import manifest
from iomodels.handlers import NAMES as HANDLERS
from wire import NAMES as WIRES
from wire import load as load_wire

DEFAULT_PORT = 9102
DEFAULT_BACKLOG = 128


class SettingsError(Exception):
    """A setting is wrong; the message names it and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """All settings of one server."""

    model: str
    wire: str = "http1"
    handler: str = "hello"
    host: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    backlog: int = DEFAULT_BACKLOG
    workers: int = 1
    nodelay: bool = True
    options: dict[str, str] = field(default_factory=dict)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    flags = argparse.ArgumentParser(prog="python -m iomodels", description="Serve with one I/O model.")
    flags.add_argument("model", nargs="?", help="the I/O model, see --list (LAB_MODEL)")
    flags.add_argument("--list", action="store_true", help="list the models and exit")
    flags.add_argument("--wire", help=f"{', '.join(WIRES)} (LAB_WIRE; http1)")
    flags.add_argument("--handler", help=f"{', '.join(HANDLERS)}, such as hello or sleep:10ms (LAB_HANDLER)")
    flags.add_argument("--host", help="address to listen on (LAB_HOST; 0.0.0.0)")
    flags.add_argument("--port", help=f"port to listen on, 0 for any free one (LAB_PORT; {DEFAULT_PORT})")
    flags.add_argument("--backlog", help=f"backlog of listen(2) (LAB_BACKLOG; {DEFAULT_BACKLOG})")
    flags.add_argument("--workers", help="processes over SO_REUSEPORT (LAB_WORKERS; 1)")
    flags.add_argument("--nodelay", help="TCP_NODELAY on connections: on or off (LAB_NODELAY; on)")
    flags.add_argument(
        "--option",
        action="append",
        metavar="NAME=VALUE",
        help="a setting of the model, once for each (LAB_OPTIONS)",
    )
    return flags


def resolve(arguments: argparse.Namespace, models: dict[str, manifest.Model]) -> Settings:
    """Return the settings from the flags, the environment and the defaults.

    Raises:
        SettingsError: one of them is wrong, or two of them contradict each other.
    """

    def value(name: str, default: str) -> str:
        flag: str | None = getattr(arguments, name)
        return flag if flag is not None else os.environ.get(f"LAB_{name.upper()}", default)

    name = value("model", "")
    if name not in models:
        raise SettingsError(f"model: unknown {name!r}; known: {', '.join(models)}")
    model = models[name]
    wire = value("wire", "datagram" if model.transports == ["udp"] else "http1")
    if wire not in WIRES:
        raise SettingsError(f"wire: unknown {wire!r}; known: {', '.join(WIRES)}")
    transport = load_wire(wire).TRANSPORT
    if transport not in model.transports:
        raise SettingsError(
            f"wire: {wire} needs {transport}; {name} serves {', '.join(model.transports)} only"
        )
    workers = _number("workers", value("workers", "1"), 1, 64)
    if workers > 1 and not model.workers:
        raise SettingsError(f"workers: {name} supports 1 only")
    nodelay = value("nodelay", "on")
    if nodelay not in ("on", "off"):
        raise SettingsError(f"nodelay: {nodelay!r}; allowed: on, off")
    requested = (
        arguments.option if arguments.option is not None else _items(os.environ.get("LAB_OPTIONS", ""))
    )
    return Settings(
        model=name,
        wire=wire,
        handler=value("handler", load_wire(wire).DEFAULT_HANDLER),
        host=value("host", "0.0.0.0"),
        port=_number("port", value("port", str(DEFAULT_PORT)), 0, 65535),
        backlog=_number("backlog", value("backlog", str(DEFAULT_BACKLOG)), 1, 65535),
        workers=workers,
        nodelay=nodelay == "on",
        options=_options(requested, model),
    )


def _number(name: str, text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise SettingsError(f"{name}: {text!r}; allowed: a whole number from {lowest} to {highest}")
    return int(text)


def _items(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _options(requested: list[str], model: manifest.Model) -> dict[str, str]:
    options = {name: str(default) for name, default in model.options.items()}
    for text in requested:
        name, _, setting = text.partition("=")
        if name not in options:
            known = ", ".join(options) or "none"
            raise SettingsError(f"option: {model.name} has no {name!r}; known: {known}")
        options[name] = setting
    return options
