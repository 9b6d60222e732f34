"""From settings to a running server: bind, announce, count, serve, stop."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from iomodels import anew, handlers, manifest, sessions, settings, workers
from iomodels.listen import Listener, bind, raise_descriptor_limit
from iomodels.native import Missing
from iomodels.session import NewSession
from iomodels.stats import STATS, Attendant, as_json, emit, hold_stop_signals, log

EXIT_CRASHED = 1
EXIT_SETTINGS = 2
EXIT_CANNOT = 3


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code of the contract."""
    given = settings.parser().parse_args(argv)
    try:
        models = manifest.load()
    except manifest.ManifestError as error:
        return _fail(EXIT_SETTINGS, str(error))
    if given.list:
        for model in models.values():
            print(f"{model.name:12} {model.family:14} {model.summary}")
        return 0
    try:
        wanted = settings.resolve(given, models)
        handler = handlers.load(wanted.handler)
        raise_descriptor_limit()
        listeners = _bind_all(wanted)
    except (settings.SettingsError, ValueError) as error:
        return _fail(EXIT_SETTINGS, str(error))
    except OSError as error:
        return _fail(EXIT_SETTINGS, f"port: cannot listen on {wanted.host}:{wanted.port}: {error.strerror}")
    hold_stop_signals()
    anew.take_over()
    new_session = sessions.make(wanted.wire, handler)
    try:
        return _serve(wanted, listeners, new_session)
    except BrokenPipeError:
        return _fail(EXIT_CRASHED, "standard output is closed: nobody takes the statistics")
    except Missing as missing:
        return _fail(EXIT_CANNOT, f"{wanted.model}: {missing}")


def _bind_all(wanted: settings.Settings) -> list[Listener]:
    """Bind a listener per worker, all before anybody is told that the server is ready."""
    listeners: list[Listener] = []
    port = wanted.port
    for _ in range(wanted.workers):
        listener = bind(
            wanted.host,
            port,
            udp=wanted.wire == "datagram",
            backlog=wanted.backlog,
            nodelay=wanted.nodelay,
            reuse_port=wanted.workers > 1,
        )
        listener.options = wanted.options
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners


def _serve(wanted: settings.Settings, listeners: list[Listener], new_session: NewSession) -> int:
    model = import_module(f"iomodels.models.{wanted.model}")
    if hasattr(
        model, "require"
    ):  # what the kernel or the container may lack is known before anybody is told "ready"
        model.require()
    if wanted.workers > 1:
        return workers.run(listeners, lambda: _announce(wanted, listeners[0]), model.serve, new_session)
    listener = listeners[0]
    _announce(wanted, listener)
    with Attendant(lambda: emit("stats", **as_json(STATS.totals())), listener.stop) as attendant:
        model.serve(listener, new_session)
    listener.close()
    if attendant.anew:
        anew.begin()
    emit("stopped", **as_json(STATS.totals()))
    return 0


def _announce(wanted: settings.Settings, listener: Listener) -> None:
    host, port = listener.getsockname()
    if listener.backlog < wanted.backlog and wanted.wire != "datagram":
        log("warning", f"backlog {wanted.backlog} cut to {listener.backlog} by net.core.somaxconn")
    emit(
        "ready",
        model=wanted.model,
        wire=wanted.wire,
        handler=wanted.handler,
        host=host,
        port=port,
        pid=os.getpid(),
        backlog=listener.backlog,
        workers=wanted.workers,
        options=wanted.options,
    )


def _fail(code: int, says: str) -> int:
    print(says, file=sys.stderr)
    return code
