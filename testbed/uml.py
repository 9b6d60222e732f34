"""Boot a user-mode Linux kernel on this machine's own file system, read-only, and run one command in it.

The kernel is a process: it needs no privilege and ends with the command. Its root is the host's, mounted
read-only through hostfs, so that nothing inside can change it; `/tmp`, `/run` and `/dev/shm` are its own.
Only `folder` is shared for writing: the command's output and its exit code come out by it.

Source: Documentation/virt/uml/user_mode_linux_howto_v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL = "linux.uml"
MODULES = Path("/usr/lib/uml/modules")
REGISTERS = Path(__file__).with_name("uml_registers.c")
COMPILER = "cc"
COMPILE_DEADLINE_S = 60.0
WANTED_MODULES = (
    "sch_netem",
    "sch_htb",
    "cls_u32",
    "veth",
    "bridge",
    "nf_tables",
    "nft_compat",
    "nfnetlink_queue",
)
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/shm
mount --bind {root} /srv
for place in /tmp /run /dev/shm; do mount -t tmpfs tmpfs $place; done
# A checkout below /tmp is hidden by that: it comes back at its own place.
[ -e {root} ] || (mkdir -p {root} && mount --bind /srv {root})
mount -t hostfs -o {folder} none /mnt
mkdir -p /run/kernel/lib
ln -s {modules} /run/kernel/lib/modules
modprobe -d /run/kernel -a {wanted}
ip link set dev lo up
export HOME=/run PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
cd {root}
{command} >/mnt/output 2>&1
echo $? >/mnt/exit
echo o >/proc/sysrq-trigger
"""


@dataclass(frozen=True)
class Ended:
    """How the command ended: its exit code, None if it never did, its output and the kernel's console."""

    code: int | None
    output: str
    console: str


def why_not() -> str | None:
    """None where a kernel can be booted, else the reason."""
    if shutil.which(KERNEL) is None or not MODULES.is_dir():
        return "user-mode Linux is not installed: run tests/install-packages"
    if shutil.which("modprobe") is None:
        return "kmod is not installed: run tests/install-packages"
    if _has_amx() and shutil.which(COMPILER) is None:
        return "this CPU has AMX, so user-mode Linux needs a C compiler: run tests/install-packages"
    return None


def _has_amx() -> bool:
    return "amx_tile" in Path("/proc/cpuinfo").read_text().split()


def _registers(folder: Path) -> dict[str, str]:
    """Return the environment in which a kernel can restore the registers of this CPU (uml_registers.c)."""
    if not _has_amx():
        return {}
    library = folder / "uml_registers.so"
    command = [
        COMPILER,
        "-O2",
        "-Wall",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(REGISTERS),
        "-ldl",
    ]
    subprocess.run(command, check=True, timeout=COMPILE_DEADLINE_S)
    return {"LD_PRELOAD": str(library)}


def run(
    command: Sequence[str],
    folder: Path,
    root: Path,
    deadline_s: float,
    memory: str = "512M",
    modules: Sequence[str] = (),
) -> Ended:
    """Boot, load `modules` beside WANTED_MODULES, run `command` in the folder `root`, halt.

    The kernel is killed at the deadline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    init = folder / "init"
    init.write_text(
        INIT.format(
            folder=folder,
            modules=MODULES,
            wanted=" ".join((*WANTED_MODULES, *modules)),
            root=root,
            command=shlex.join(command),
        )
    )
    init.chmod(0o755)
    console = folder / "console"
    _boot([f"mem={memory}", f"init={init}"], console, deadline_s, _registers(folder))
    code = folder / "exit"
    output = folder / "output"
    return Ended(
        int(code.read_text()) if code.exists() else None,
        output.read_text(errors="replace") if output.exists() else "",
        console.read_text(errors="replace"),
    )


def _boot(arguments: Sequence[str], console: Path, deadline_s: float, environment: dict[str, str]) -> None:
    """Run a kernel on the host's files to its end or to the deadline; write what it prints to `console`."""
    kernel = [KERNEL, "rootfstype=hostfs", "rootflags=/", "ro", "quiet", *arguments]
    with (
        console.open("wb") as out,
        subprocess.Popen(
            [*kernel, "con=null", "con0=null,fd:1"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | environment,
        ) as running,
    ):
        try:
            running.wait(deadline_s)
        except subprocess.TimeoutExpired:
            out.write(f"\nkilled after {deadline_s:g} s\n".encode())
        finally:
            # Each of its processes is one of the host's, which a killed kernel leaves behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
