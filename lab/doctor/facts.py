"""Reading what the doctor looks at. Nothing is changed but by `fix`, which says what it does."""

from __future__ import annotations

import ctypes
import importlib.util
import ipaddress
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lab.collect.bpf import Bpf
from lab.common.errors import HostCannot, LabError
from lab.common.notify import Notify
from lab.common.paths import ROOT
from lab.doctor import Facts
from lab.engine import connect, images
from lab.engine.api import Engine
from lab.plan import host
from lab.plan.topology import Node, Topology
from lab.runtime import cleanup, docker_spec, journal
from lab.runtime.docker import DockerRuntime

IMAGES = ("server", "swarm", "nettools")
ASK_S = 20.0
SYS_IO_URING_SETUP = 425  # the same number on every architecture (io_uring_setup(2))
# What the nettools' `capabilities` command answers, without an agent: for a namespace of our own.
ASK = (
    "import asyncio, json; from nettools.capabilities import capabilities; "
    "print(json.dumps(asyncio.run(capabilities())))"
)


def read(results: Path, pool: str) -> Facts:
    """Read everything; what cannot be read is told in the facts, not raised."""
    client, says = _engine()
    try:
        found = connect.facts(client) if client else None
        built = _images(client) if client else {}
        shaping, shaping_says = _shaping(client, built)
        disks = {"results": _free(results)}
        if client and (root := _root_dir(client)).is_dir():
            disks["engine"] = _free(root)
    finally:
        if client is not None:
            client.close()
    return Facts(
        python=sys.version_info[:3],
        host=host.read(),
        distribution=_distribution(),
        engine=found,
        engine_says=says,
        images=built,
        shaping=shaping,
        shaping_says=shaping_says,
        syscalls_says=_syscalls(),
        io_uring_says=_io_uring(),
        io_uring_disabled=_number("kernel/io_uring_disabled"),
        port_range=_port_range(),
        conntrack_used=_number("net/netfilter/nf_conntrack_count"),
        disk_free_bytes=disks,
        pool=pool,
        pool_taken=_taken(pool, Path("/proc/net/route").read_text(encoding="ascii")),
        left=tuple(sorted({entry.run for entry in journal.found() if entry.dead})),
        swarm_imports=importlib.util.find_spec("locust") is not None,
    )


def fix(notify: Notify) -> None:
    """What is safe to mend: start the engine, clear away dead runs, build missing images. Raises LabError."""
    client = connect.ensure(notify)
    try:
        cleanup.reap(client, notify)
        images.build(client, IMAGES, notify)
    finally:
        client.close()


def _engine() -> tuple[Any | None, str]:
    try:
        return connect.connect(), ""
    except HostCannot as error:
        return None, str(error)


def _images(client: Any) -> dict[str, bool]:
    """Which images are there, by the tags that the present sources make."""
    api = Engine(client.api)
    known = {tag for image in api.call("list images", api.api.images) for tag in image["RepoTags"] or []}
    return {name: images.tag(name, platform.machine()) in known for name in IMAGES}


def _shaping(client: Any | None, built: dict[str, bool]) -> tuple[dict[str, Any] | None, str]:
    """What the kernel can do to a link: asked in a container (its kernel may be another), else here."""
    try:
        if client is not None and built.get("nettools"):
            return _asked_in_container(client), ""
        return _asked_in_namespace(), ""
    except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
        return None, str(error)


def shaping_here() -> tuple[dict[str, Any] | None, str]:
    """What this host's kernel can do to a link, asked without an engine; None and the reason if unknown."""
    return _shaping(None, {})


def _asked_in_container(client: Any) -> dict[str, Any]:
    tag = images.tag("nettools", platform.machine())
    node = Node("net", "nettools", "nettools", argv=("python", "-m", "nettools", "agent"))
    topology = Topology(f"doctor-{os.getpid()}", "links", (node,), ())
    with (
        tempfile.TemporaryDirectory(prefix="lab-") as logs,
        DockerRuntime(client, {"nettools": tag}).up(topology, Path(logs)) as up,
    ):
        up.wait_event("net", "ready", ASK_S)
        command = ["python", "-m", "nettools", "ctl", json.dumps({"do": "capabilities"})]
        answer: dict[str, Any] = json.loads(up.exec("net", command, ASK_S).out)
    return answer


def _asked_in_namespace() -> dict[str, Any]:
    """In a network namespace that exists for the question only: root, or a user namespace, makes one."""
    unshare = shutil.which("unshare")
    if unshare is None:
        raise HostCannot("not asked: neither the nettools image nor unshare(1) is here")
    alone = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    done = subprocess.run(
        [unshare, *alone, sys.executable, "-c", ASK],
        env={**os.environ, "PYTHONPATH": str(ROOT / "images")},
        capture_output=True,
        text=True,
        timeout=ASK_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostCannot(f"not asked: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _syscalls() -> str | None:
    """Why system calls cannot be counted; None where they can: our own are, for a moment."""
    namespace = Path("/proc/self/ns/pid").stat()
    try:
        Bpf().count_syscalls(namespace.st_dev, namespace.st_ino).close()
    except OSError as error:
        return str(error.strerror or error)
    return None


def _io_uring() -> str | None:
    """Why io_uring_setup(2) refuses this process; None where it does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    parameters = (ctypes.c_uint32 * 30)()  # struct io_uring_params: 120 bytes, zeroed
    descriptor = libc.syscall(SYS_IO_URING_SETUP, 1, ctypes.byref(parameters))
    if descriptor < 0:
        return f"io_uring_setup: {os.strerror(ctypes.get_errno())}"
    os.close(descriptor)
    return None


def _root_dir(client: Any) -> Path:
    api = Engine(client.api)
    return Path(api.call("tell about itself", api.api.info)["DockerRootDir"])


def _free(path: Path) -> int:
    """Bytes that an ordinary user may still write where `path` is, or would be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _taken(pool: str, routes: str) -> tuple[str, ...]:
    """Routes of this host inside the pool, other than those of the lab's own bridges."""
    ours = ipaddress.IPv4Network(pool)
    found = [ipaddress.IPv4Network(route, strict=False) for route in docker_spec.host_routes(routes)]
    return tuple(str(route) for route in found if route.overlaps(ours) and route.prefixlen != 24)


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["ID"]
    except (OSError, KeyError):
        return ""


def _number(name: str) -> int | None:
    try:
        return int((Path("/proc/sys") / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _port_range() -> tuple[int, int] | None:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return None
    first, last = map(int, text.split())
    return first, last
