"""The short slice is set, as sched_getattr(2) reports."""

import platform
import struct
import subprocess
import sys

import pytest

GET = {"x86_64": 315, "aarch64": 275}  # sched_getattr(2)


@pytest.mark.skipif(platform.machine() not in GET, reason="the number of sched_getattr(2) is not known here")
def test_the_kernel_reports_the_short_slice():
    code = (
        "import ctypes, sys; from kernel.scheduling import set_short_slice; set_short_slice();"
        "room = ctypes.create_string_buffer(64);"
        f"ctypes.CDLL(None).syscall({GET.get(platform.machine())}, 0, room, 56, 0);"
        "sys.stdout.buffer.write(room.raw)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONPATH": "images"}
    )
    policy, runtime_ns = (
        struct.unpack_from("I", done.stdout, 4)[0],
        struct.unpack_from("Q", done.stdout, 24)[0],
    )
    assert policy == 0
    assert runtime_ns in (0, 100_000), "0: a kernel before 6.12 ignores it"
