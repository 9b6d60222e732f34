"""Read the facts that the doctor judges. Only `fix` changes anything, and it says what."""

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
from lab.runtime import cleanup, docker_spec, journal, realtime
from lab.runtime.docker import USUAL_GROUP, DockerRuntime

IMAGES = ("server", "swarm", "nettools")
ANSWER_S = 20.0
SYS_IO_URING_SETUP = 425  # the same number on every architecture (io_uring_setup(2))
# The answer of the nettools' `capabilities` command, without an agent: for a namespace of our own.
CAPABILITIES = (
    "import asyncio, json; from nettools.capabilities import capabilities; "
    "print(json.dumps(asyncio.run(capabilities())))"
)


def read(results: Path, pool: str) -> Facts:
    """Read everything; a fact that cannot be read carries the reason instead of raising."""
    client, says = _engine()
    try:
        found = connect.facts(client) if client else None
        built = _images(client) if client else {}
        shaping, shaping_says = _shaping(client, built)
        real_time_says = _real_time(client, built)
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
        real_time_says=real_time_says,
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
    """Fix what is safe: start the engine, remove dead runs, build missing images. Raises LabError."""
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
    """Return which images exist, by the tags of the current sources."""
    api = Engine(client.api)
    known = {tag for image in api.call("list images", api.api.images) for tag in image["RepoTags"] or []}
    return {name: images.tag(name, platform.machine()) in known for name in IMAGES}


def _shaping(client: Any | None, built: dict[str, bool]) -> tuple[dict[str, Any] | None, str]:
    """Test how the kernel can impair a link: in a container (its kernel may be another), else here."""
    try:
        if client is not None and built.get("nettools"):
            return _capabilities_in_container(client), ""
        return _capabilities_in_namespace(), ""
    except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
        return None, str(error)


def shaping_here() -> tuple[dict[str, Any] | None, str]:
    """Test how this host's kernel can impair a link, without an engine; None and the reason if unknown."""
    return _shaping(None, {})


def _capabilities_in_container(client: Any) -> dict[str, Any]:
    tag = images.tag("nettools", platform.machine())
    node = Node("net", "nettools", "nettools", argv=("python", "-m", "nettools", "agent"))
    topology = Topology(f"doctor-{os.getpid()}", "links", (node,), ())
    with (
        tempfile.TemporaryDirectory(prefix="lab-") as logs,
        DockerRuntime(client, {"nettools": tag}).up(topology, Path(logs)) as up,
    ):
        up.wait_event("net", "ready", ANSWER_S)
        command = ["python", "-m", "nettools", "ctl", json.dumps({"do": "capabilities"})]
        answer: dict[str, Any] = json.loads(up.exec("net", command, ANSWER_S).out)
    return answer


def _capabilities_in_namespace() -> dict[str, Any]:
    """Test in a temporary network namespace, which root or a user namespace can make."""
    unshare = shutil.which("unshare")
    if unshare is None:
        raise HostCannot("not tested: neither the nettools image nor unshare(1) is here")
    namespaces = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    done = subprocess.run(
        [unshare, *namespaces, sys.executable, "-c", CAPABILITIES],
        env={**os.environ, "PYTHONPATH": str(ROOT / "images")},
        capture_output=True,
        text=True,
        timeout=ANSWER_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostCannot(f"not tested: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _real_time(client: Any | None, built: dict[str, bool]) -> str | None:
    """Return why engines and delay lines cannot be real-time; None where they can."""
    if realtime.needs_budget():
        return realtime.why_no_budget(USUAL_GROUP)
    if os.geteuid() == 0:
        return None
    if client is None or not built["nettools"]:
        return "not tested: no engine with the nettools image is here"
    node = Node("net", "nettools", "nettools", argv=("true",), real_time=True)
    runtime = DockerRuntime(client, {"nettools": images.tag("nettools", platform.machine())})
    topology = Topology(f"doctor-{os.getpid()}", "real-time", (node,), ())
    try:
        with tempfile.TemporaryDirectory(prefix="lab-") as logs, runtime.up(topology, Path(logs)):
            return runtime.rtprio.refused or None
    except LabError as error:
        return f"not tested: {error}"


def _syscalls() -> str | None:
    """Return why system calls cannot be counted; None where they can. It counts its own for a moment."""
    namespace = Path("/proc/self/ns/pid").stat()
    try:
        Bpf().count_syscalls(namespace.st_dev, namespace.st_ino).close()
    except OSError as error:
        return str(error.strerror or error)
    return None


def _io_uring() -> str | None:
    """Return why io_uring_setup(2) fails for this process; None where it works."""
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
    """Return the bytes that an ordinary user may still write where `path` is, or would be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _taken(pool: str, routes: str) -> tuple[str, ...]:
    """Return this host's routes inside the pool, except those of the lab's own bridges."""
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
