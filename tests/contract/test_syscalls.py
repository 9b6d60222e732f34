"""System calls counted by BPF: those of one PID namespace, by name, and of nobody else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.collect.bpf import Bpf, counting_program, possible_cpus
from lab.collect.syscalls import Syscalls

CHILD = r"""
import os, sys
if os.fork():  # the first process of a PID namespace is its init, which is not counted
    os.wait()
    sys.exit()
os.write(1, b"ready\n")
sys.stdin.readline()
for _ in range(1234):
    os.getppid()
os.write(1, b"called\n")
sys.stdin.readline()
"""


def can_count() -> str | None:
    if os.geteuid():
        return "BPF programs on tracepoints need root"
    try:
        me = Path("/proc/self/ns/pid").stat()
        Bpf().count_syscalls(me.st_dev, me.st_ino).close()
    except OSError as error:
        return f"this kernel does not count by BPF: {error}"
    return None


WHY_NOT = can_count()
needs_bpf = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture
def namespace():
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is essential on Debian"
    command = [unshare, "--pid", "--fork", sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process, int(children(process.pid)[0])
        process.stdin.close()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def counts(collector: Syscalls) -> dict[str, float]:
    return {sample.metric: sample.value for sample in collector.sample()}


@needs_bpf
def test_calls_of_the_namespace_are_counted_exactly(namespace):
    process, inside = namespace
    collector = Syscalls("server", inside)
    try:
        for _ in range(500):
            os.getpgid(0)  # this process is of another namespace
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "called\n"
        found = counts(collector)
    finally:
        collector.detach()
    assert found["getppid"] == 1234
    assert found["write"] == 1
    assert "getpgid" not in found
    assert counts(collector) == {}, "it is quiet now"


@needs_bpf
def test_a_namespace_of_our_own_is_refused():
    with pytest.raises(OSError, match="shares this host's PID namespace"):
        Syscalls("server", os.getpid())


@needs_bpf
def test_nothing_stays_open():
    me = Path("/proc/self/ns/pid").stat()
    before = open_files()
    for _ in range(20):
        Bpf().count_syscalls(me.st_dev, me.st_ino).close()
    assert open_files() == before


def test_the_program_is_whole_instructions():
    assert len(counting_program(3, 4, 0xF0000000)) % 8 == 0
    assert possible_cpus() >= 1
