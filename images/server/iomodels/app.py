"""Run a server: read the settings, bind, announce, serve, count, stop."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from iomodels import handlers, manifest, restart, sessions, settings, workers
from iomodels.listen import Listener, bind, raise_descriptor_limit
from iomodels.native import MissingFeature
from iomodels.session import SessionFactory
from iomodels.stats import STATS_SIGNAL, Reporter, block_reporters_signals, emit, emit_stats, log

EXIT_CRASHED = 1
EXIT_SETTINGS = 2
EXIT_UNSUPPORTED = 3


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code (images/CONTRACT.md)."""
    arguments = settings.parser().parse_args(argv)
    try:
        models = manifest.load()
    except manifest.ManifestError as error:
        return _fail(EXIT_SETTINGS, str(error))
    if arguments.list:
        for model in models.values():
            print(f"{model.name:12} {model.family:14} {model.summary}")
        return 0
    try:
        config = settings.resolve(arguments, models)
        handler = handlers.load(config.handler)
        raise_descriptor_limit()
        listeners = _bind_all(config)
    except (settings.SettingsError, ValueError) as error:
        return _fail(EXIT_SETTINGS, str(error))
    except OSError as error:
        return _fail(EXIT_SETTINGS, f"port: cannot listen on {config.host}:{config.port}: {error.strerror}")
    block_reporters_signals()
    restart.restore_totals()
    new_session = sessions.make(config.wire, handler)
    try:
        return _serve(config, listeners, new_session)
    except BrokenPipeError:
        return _fail(EXIT_CRASHED, "standard output is closed: nobody reads the statistics")
    except MissingFeature as error:
        return _fail(EXIT_UNSUPPORTED, f"{config.model}: {error}")


def _bind_all(config: settings.Settings) -> list[Listener]:
    """Bind a listener per worker; all of them listen before the server announces that it is ready."""
    listeners: list[Listener] = []
    port = config.port
    for _ in range(config.workers):
        listener = bind(
            config.host,
            port,
            udp=config.wire == "datagram",
            backlog=config.backlog,
            nodelay=config.nodelay,
            reuse_port=config.workers > 1,
        )
        listener.options = config.options
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners


def _serve(config: settings.Settings, listeners: list[Listener], new_session: SessionFactory) -> int:
    model = import_module(f"iomodels.models.{config.model}")
    if hasattr(model, "require"):  # "ready" is announced only if the kernel and the container have all of it
        model.require()
    if config.workers > 1:
        return workers.run(listeners, lambda: _announce(config, listeners[0]), model.serve, new_session)
    listener = listeners[0]
    _announce(config, listener)
    with Reporter(lambda asked: emit_stats(asked=asked), listener.stop) as reporter:
        model.serve(listener, new_session)
    listener.close()
    if reporter.restart_requested:
        restart.execute()
    emit_stats("stopped")
    return 0


def _announce(config: settings.Settings, listener: Listener) -> None:
    host, port = listener.getsockname()
    if listener.backlog < config.backlog and config.wire != "datagram":
        log("warning", f"backlog {config.backlog} cut to {listener.backlog} by net.core.somaxconn")
    emit(
        "ready",
        model=config.model,
        wire=config.wire,
        handler=config.handler,
        host=host,
        port=port,
        pid=os.getpid(),
        backlog=listener.backlog,
        workers=config.workers,
        options=config.options,
        stats_signal=STATS_SIGNAL.name,
    )


def _fail(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code
