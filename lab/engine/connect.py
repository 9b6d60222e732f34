"""Connect to the Docker engine that answers, or install and start one where that is allowed.

The lab never stops or reconfigures an engine that it did not start. One that it started keeps running for the
next run.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import docker.utils
import requests
from docker.context import ContextAPI
from docker.context.config import get_current_context_name

from lab.common.errors import HostCannot
from lab.common.lock import file_lock
from lab.common.notify import Notify
from lab.common.owner import state_dir
from lab.engine import apt, dockerd
from lab.engine.api import CALL_S, Engine, one_line
from lab.engine.client import open_client
from lab.engine.dockerd import Daemon

PROBE_S = 3.0
START_S = 60.0
PACKAGES = ("docker.io", "iptables")
SYSTEMD = Path("/run/systemd/system")
KEEPS_UP = "it keeps running: `make down ENGINE=1` stops it"


def default_daemon() -> Daemon:
    """Return the engine at the usual place."""
    return Daemon(state_dir())


def connect(daemon: Daemon | None = None) -> Any | None:
    """Return a docker.DockerClient of the engine that answers, or None where there is none.

    Raises HostCannot where an engine exists but cannot be used: it hangs, or this user has no permission.
    """
    for url in [daemon.url] if daemon else _addresses():
        client = _probe(url)
        if client is not None:
            return client
    return None


def ensure(notify: Notify, daemon: Daemon | None = None) -> Any:
    """Return the engine that answers, else install and start one. Raises HostCannot with what to run."""
    client = connect(daemon)
    if client is not None:
        return client
    _require_permission_to_start()
    daemon = daemon or default_daemon()
    with file_lock(daemon.state / "engine.lock", "starting the Docker engine", START_S * 2, notify):
        client = connect(daemon)
        if client is None and shutil.which("dockerd") is None:
            apt.install(PACKAGES, daemon.state / "apt.log", notify)
            client = connect(daemon)  # where an init system runs, installing it has started it
        return client or _start(daemon, notify)


def stop(notify: Notify, daemon: Daemon | None = None) -> bool:
    """Stop the engine that the lab started, never another; return whether there was one."""
    pid = dockerd.stop(daemon or default_daemon())
    if pid is None:
        notify("the lab started no Docker engine here: nothing to stop")
        return False
    notify(f"Docker engine: stopped (process {pid})")
    return True


def facts(client: Any) -> dict[str, Any]:
    """Return what the records keep of an engine: versions, kernel, cgroup, storage, security, size."""
    engine = Engine(client.api)
    version = engine.call("tell its version", engine.api.version)
    info = engine.call("tell about itself", engine.api.info)
    components = {part["Name"]: part["Version"] for part in version.get("Components", [])}
    return {
        "version": version["Version"],
        "api_version": version["ApiVersion"],
        "components": components,
        "kernel": info["KernelVersion"],
        "system": info["OperatingSystem"],
        "machine": info["Architecture"],
        "cgroup_version": info.get("CgroupVersion", "1"),
        "cgroup_driver": info["CgroupDriver"],
        "storage_driver": info["Driver"],
        "default_runtime": info.get("DefaultRuntime"),
        "security": info.get("SecurityOptions", []),
        "cpus": info["NCPU"],
        "memory_bytes": info["MemTotal"],
        "containers_running": info["ContainersRunning"],
    }


def _addresses() -> Iterator[str]:
    """Yield where an engine may answer, in the order in which Docker's own client looks.

    An engine that is named is the only one: no other is tried in its place.

    Raises:
        HostCannot: The engine that a context names is not there.
    """
    if given := os.environ.get("DOCKER_HOST"):
        yield given
        return
    named = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if named != "default":
        yield from _of_context(named)
    usual = [f"unix://{path}" for path in ("/var/run/docker.sock", f"/run/user/{os.getuid()}/docker.sock")]
    yield from dict.fromkeys(filter(None, (_host(ContextAPI.get_context("default")), *usual)))


def _host(context: Any) -> str:
    """Return the address of a context, empty where there is none; docker-py writes http+unix:// for unix://."""
    return str(context.Host or "").removeprefix("http+") if context is not None else ""


def _of_context(name: str) -> Iterator[str]:
    """Yield the address of a Docker context. Raises HostCannot where there is none, or nobody answers."""
    address = _host(ContextAPI.get_context(name))
    if not address:
        raise HostCannot(f"there is no Docker context {name!r}: `docker context ls` lists those there are")
    yield address
    raise HostCannot(
        f"no Docker engine answers at {address} (Docker context {name}): start it, or choose another "
        "context: DOCKER_CONTEXT=default"
    )


def _probe(url: str) -> Any | None:
    """Return a client of the engine at `url`, None where nobody listens. Raises HostCannot if it fails."""
    path = Path(url.removeprefix("unix://"))
    if url.startswith("unix://") and not _listens(path):
        return None
    try:
        quick = open_client(url, PROBE_S, tls=_tls(url))  # CALL_S would be too long to find out that it hangs
        quick.close()
        return open_client(url, CALL_S, quick.api._version, _tls(url))
    except (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        if url.startswith("unix://") and not _listens(path):
            return None  # it ended just now
        says = f"the Docker engine at {url} does not answer as expected within {PROBE_S:g} s"
        raise HostCannot(f"{says}: {one_line(str(error))}") from error


def _tls(url: str) -> Any:
    """Return the TLS settings of DOCKER_TLS_VERIFY and DOCKER_CERT_PATH."""
    if url.startswith("unix://") or not os.environ.get("DOCKER_TLS_VERIFY"):
        return False
    return docker.utils.kwargs_from_env().get("tls", False)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PROBE_S)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except PermissionError:
            raise HostCannot(
                f"no permission to use {path}: run as root, or join its group: sudo usermod -aG docker "
                "$USER, then log in again (members of that group can become root)"
            ) from None
        except OSError as error:
            raise HostCannot(
                f"the Docker engine's socket {path} does not take connections: {error}"
            ) from error
    return True


def _require_permission_to_start() -> None:
    if given := os.environ.get("DOCKER_HOST"):
        raise HostCannot(f"no Docker engine answers at {given} (DOCKER_HOST): start it, or unset DOCKER_HOST")
    if SYSTEMD.exists() and shutil.which("dockerd"):
        raise HostCannot("no Docker engine answers: start it with: sudo systemctl start docker")
    if not apt.can_install():
        raise HostCannot(
            "no Docker engine answers, and the lab starts one only as root on a Debian-like system: install "
            "Docker Engine (on Debian: sudo apt-get install docker.io), or try without it: --runtime local"
        )


def _start(daemon: Daemon, notify: Notify) -> Any:
    """Start dockerd and wait until it answers."""
    began = time.monotonic()
    pid = dockerd.start(daemon)
    while time.monotonic() - began < START_S:
        if not dockerd.is_running(daemon):
            raise HostCannot(f"dockerd ended at once: {daemon.last_log_line()}; its log: {daemon.log}")
        if client := _when_ready(daemon.url):
            took = time.monotonic() - began
            notify(f"Docker engine: started in {took:.1f} s (process {pid}, log {daemon.log}); {KEEPS_UP}")
            return client
        time.sleep(0.1)
    raise HostCannot(
        f"dockerd did not answer within {START_S:g} s: {daemon.last_log_line()}; its log: {daemon.log}"
    )


def _when_ready(url: str) -> Any | None:
    """Return a client, or None as long as dockerd accepts connections but still loads its containers."""
    try:
        return _probe(url)
    except HostCannot:
        return None
