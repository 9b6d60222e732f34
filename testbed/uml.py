"""Boot a user-mode Linux kernel on this machine's own file system, read-only, and run one command in it.

The kernel is a process: it needs no privilege and ends with the command. Its root is the host's, mounted
read-only through hostfs, so that nothing inside can change it; `/tmp`, `/run` and `/dev/shm` are its own.
Only `folder` is shared for writing: the command's output and its exit code come out by it.

Source: Documentation/virt/uml/user_mode_linux_howto_v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL = "linux.uml"
MODULES = Path("/usr/lib/uml/modules")
PROBE_DEADLINE_S = 60.0
# ptrace(2) takes the extended state (NT_X86_XSTATE) as a whole only: 11 KB with AMX, and the kernel has 2.6.
FP_PANIC = b"ptrace set fp regs failed"
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


@functools.cache
def why_not() -> str | None:
    """None where a kernel can be booted, else the reason. The first call takes a second: it boots one."""
    if shutil.which(KERNEL) is None or not MODULES.is_dir():
        return "user-mode Linux is not installed: run tests/install-packages"
    if shutil.which("modprobe") is None:
        return "kmod is not installed: run tests/install-packages"
    with tempfile.TemporaryDirectory() as folder:
        console = Path(folder) / "console"
        _boot(["mem=64M", "init=/bin/true"], console, PROBE_DEADLINE_S)
        if FP_PANIC in console.read_bytes():
            return "this user-mode Linux has too small a buffer for the registers of this CPU (AMX)"
    return None


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
    _boot([f"mem={memory}", f"init={init}"], console, deadline_s)
    code = folder / "exit"
    output = folder / "output"
    return Ended(
        int(code.read_text()) if code.exists() else None,
        output.read_text(errors="replace") if output.exists() else "",
        console.read_text(errors="replace"),
    )


def _boot(arguments: Sequence[str], console: Path, deadline_s: float) -> None:
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
