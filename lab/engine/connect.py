"""The Docker engine: the one that answers, or one that the lab installs and starts where it may.

It never stops or reconfigures an engine that it did not start. One that it started stays up for the next run.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils
import requests
from docker.context import ContextAPI

from lab.common.errors import HostCannot
from lab.common.lock import file_lock
from lab.common.notify import Notify
from lab.common.owner import state_dir
from lab.engine import apt, dockerd
from lab.engine.api import CALL_S, Engine, one_line
from lab.engine.dockerd import Daemon

PROBE_S = 3.0
START_S = 60.0
PACKAGES = ("docker.io", "iptables")
SYSTEMD = Path("/run/systemd/system")
STAYS = "it stays up: `make down ENGINE=1` stops it"


def default_daemon() -> Daemon:
    """The engine at the usual place."""
    return Daemon(state_dir())


def connect(daemon: Daemon | None = None) -> Any | None:
    """A docker.DockerClient of the engine that answers, or None where there is none.

    Raises HostCannot where one is there that cannot be used: it hangs, or this user may not.
    """
    for url in [daemon.url] if daemon else _addresses():
        client = _probe(url)
        if client is not None:
            return client
    return None


def ensure(notify: Notify, daemon: Daemon | None = None) -> Any:
    """The engine that answers, else one installed and started here. Raises HostCannot with what to run."""
    client = connect(daemon)
    if client is not None:
        return client
    _only_where_it_may()
    daemon = daemon or default_daemon()
    with file_lock(daemon.state / "engine.lock", "starting the Docker engine", START_S * 2, notify):
        client = connect(daemon)
        if client is None and shutil.which("dockerd") is None:
            apt.install(PACKAGES, daemon.state / "apt.log", notify)
            client = connect(daemon)  # where an init system runs, installing it has started it
        return client or _start(daemon, notify)


def stop(notify: Notify, daemon: Daemon | None = None) -> bool:
    """Stop the engine that the lab started, never another. True if it was stopped."""
    pid = dockerd.stop(daemon or default_daemon())
    if pid is None:
        notify("no Docker engine here was started by the lab: none is stopped")
        return False
    notify(f"Docker engine: stopped (process {pid})")
    return True


def facts(client: Any) -> dict[str, Any]:
    """What the record keeps of an engine: versions, kernel, cgroup, storage, security, size."""
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
    """Where an engine may answer, in the order in which Docker's own client looks."""
    if given := os.environ.get("DOCKER_HOST"):
        yield given
        return
    context = ContextAPI.get_current_context()
    if context is not None and context.Host:
        yield context.Host
    for path in ("/var/run/docker.sock", f"/run/user/{os.getuid()}/docker.sock"):
        if f"unix://{path}" != (context.Host if context else None):
            yield f"unix://{path}"


def _probe(url: str) -> Any | None:
    """A client of the engine at `url`; None where nobody listens. Raises HostCannot where none serves."""
    path = Path(url.removeprefix("unix://"))
    if url.startswith("unix://") and not _listens(path):
        return None
    try:
        # A first client with a short patience, as creating one asks the engine for its version.
        quick = docker.DockerClient(base_url=url, version="auto", timeout=PROBE_S, tls=_tls(url))
        version = quick.api._version
        quick.close()
    except (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        ValueError,
        KeyError,
    ) as error:
        if url.startswith("unix://") and not _listens(path):
            return None  # it ended just now
        says = (
            f"the Docker engine at {url} gives no right answer within {PROBE_S:g} s: {one_line(str(error))}"
        )
        raise HostCannot(says) from error
    return docker.DockerClient(base_url=url, version=version, timeout=CALL_S, tls=_tls(url))


def _tls(url: str) -> Any:
    """The TLS settings that DOCKER_TLS_VERIFY and DOCKER_CERT_PATH ask for."""
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
                f"you may not use {path}: run as root, or join its group: sudo usermod -aG docker $USER, "
                "then log in again (members of that group can become root)"
            ) from None
        except OSError as error:
            raise HostCannot(
                f"the Docker engine's socket {path} does not take connections: {error}"
            ) from error
    return True


def _only_where_it_may() -> None:
    if given := os.environ.get("DOCKER_HOST"):
        raise HostCannot(f"no Docker engine answers at {given} (DOCKER_HOST): start it, or unset DOCKER_HOST")
    if SYSTEMD.exists() and shutil.which("dockerd"):
        raise HostCannot("no Docker engine answers: start it with: sudo systemctl start docker")
    if not apt.may_install():
        raise HostCannot(
            "no Docker engine answers, and only root on a Debian-like system may start one: install Docker "
            "Engine (on Debian: sudo apt-get install docker.io), or look around without: --runtime local"
        )


def _start(daemon: Daemon, notify: Notify) -> Any:
    """Start dockerd and wait until it answers."""
    began = time.monotonic()
    pid = dockerd.start(daemon)
    while time.monotonic() - began < START_S:
        if not dockerd.lives(daemon):
            raise HostCannot(f"dockerd ended at once: {daemon.last_words()}; its log: {daemon.log}")
        if client := _when_ready(daemon.url):
            took = time.monotonic() - began
            notify(f"Docker engine: started in {took:.1f} s (process {pid}, log {daemon.log}); {STAYS}")
            return client
        time.sleep(0.1)
    raise HostCannot(
        f"dockerd did not answer within {START_S:g} s: {daemon.last_words()}; its log: {daemon.log}"
    )


def _when_ready(url: str) -> Any | None:
    """While it loads its containers, dockerd takes connections but does not answer: that is no fault yet."""
    try:
        return _probe(url)
    except HostCannot:
        return None
