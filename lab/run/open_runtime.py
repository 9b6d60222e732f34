"""Open a runtime by its name: engine up, images built, what dead runs left removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lab.common.errors import UsageError
from lab.common.notify import Notify
from lab.plan.prepared import Prepared
from lab.run.abilities import require_able
from lab.runtime import Runtime
from lab.scenario import trust

Opened = tuple[Runtime, dict[str, Any]]
Opener = Callable[[Prepared, Notify, tuple[str, ...]], AbstractContextManager[Opened]]


def require_known(wanted: str) -> None:
    """Raise UsageError for an unknown name of a runtime."""
    if wanted not in OPEN:
        raise UsageError(f"unknown runtime {wanted!r}: give --runtime {', '.join(sorted(OPEN))}")


def require_allowed(wanted: str, prepared: Prepared, trusted: bool) -> None:
    """Raise UsageError for an unknown runtime, and for a scenario that needs `--trusted` in it."""
    require_known(wanted)
    if not trusted:
        trust.require(prepared.resolved, wanted)


@contextmanager
def open_runtime(
    wanted: str,
    prepared: Prepared,
    notify: Notify,
    more_images: tuple[str, ...] = (),
    *,
    trusted: bool = False,
) -> Iterator[Opened]:
    """Open the runtime named `wanted`: engine up, images built. `auto` takes docker and says so.

    Yields the runtime, and the facts about it that the manifest keeps. Raises UsageError for an unknown name,
    and for what needs `--trusted`, before anything is started; HostCannot or UsageError for what this runtime
    cannot do.
    """
    require_allowed(wanted, prepared, trusted)
    if wanted == "auto":
        notify("runtime: docker (auto)")
    with OPEN[wanted](prepared, notify, more_images) as opened:
        require_able(prepared, opened[0])
        yield opened


@contextmanager
def _open_local(_: Prepared, notify: Notify, _more_images: tuple[str, ...]) -> Iterator[Opened]:
    from lab.runtime import cleanup
    from lab.runtime.local import LocalRuntime

    cleanup.reap(None, notify)
    runtime = LocalRuntime()
    yield runtime, {"runtime": runtime.name}


@contextmanager
def _open_docker(prepared: Prepared, notify: Notify, more_images: tuple[str, ...]) -> Iterator[Opened]:
    from lab.engine import connect, images
    from lab.runtime import cleanup
    from lab.runtime.docker import DockerRuntime

    client = connect.ensure(notify)
    try:
        cleanup.reap(client, notify)
        wanted_images = ["server", "swarm", *(["nettools"] if prepared.resolved.scenario.links else [])]
        built = images.build(client, dict.fromkeys([*wanted_images, *more_images]), notify)
        built = images.with_files(client, built, prepared.files(), notify)
        runtime = DockerRuntime(client, built, prepared.resolved.settings.network_pool)
        yield runtime, {"runtime": runtime.name, "engine": connect.facts(client), "images": built}
    finally:
        client.close()


OPEN: Mapping[str, Opener] = {"local": _open_local, "docker": _open_docker, "auto": _open_docker}
