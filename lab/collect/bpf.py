"""As much of bpf(2) as counting needs: a map, a program of a few instructions, a tracepoint. By ctypes."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

from lab.common.cpus import cpu_list

# The number of bpf(2) itself, by machine (asm/unistd.h).
_BPF_CALL = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _PROG_LOAD, _RAW_TRACEPOINT_OPEN = 0, 1, 5, 17
_PERCPU_ARRAY, _RAW_TRACEPOINT = 6, 17
_LOOKUP_HELPER, _NS_PID_HELPER = 1, 120
MOST_CALLS = 512
_ATTR_BYTES = 120


class Bpf:
    """The system call, with errors as OSError (EPERM without CAP_BPF, ENOSYS on a kernel without it)."""

    def __init__(self) -> None:
        number = _BPF_CALL.get(platform.machine())
        if number is None:
            raise OSError(f"the number of bpf(2) on {platform.machine()} is not known here")
        self._number = number
        self._libc = ctypes.CDLL(None, use_errno=True)

    def count_syscalls(self, namespace_dev: int, namespace_ino: int) -> Counters:
        """Count every system call of that PID namespace from now on, until the counters are closed."""
        table = self.call(_MAP_CREATE, struct.pack("IIIII", _PERCPU_ARRAY, 4, 8, MOST_CALLS, 0))
        program = -1
        try:
            program = self._load(counting_program(table, namespace_dev, namespace_ino))
            name = ctypes.create_string_buffer(b"sys_enter")
            attached = self.call(_RAW_TRACEPOINT_OPEN, struct.pack("QI", ctypes.addressof(name), program))
        except OSError:
            os.close(table)
            raise
        finally:
            if program >= 0:
                os.close(program)  # the attachment holds it
        return Counters(self, table, attached)

    def _load(self, program: bytes) -> int:
        code = ctypes.create_string_buffer(program, len(program))
        # The namespace helper is for programs that declare the GPL; the others would not be let near it.
        licence = ctypes.create_string_buffer(b"GPL")
        attributes = struct.pack(
            "IIQQ", _RAW_TRACEPOINT, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence)
        )
        return self.call(_PROG_LOAD, attributes)

    def call(self, command: int, attributes: bytes) -> int:
        """bpf(command, attributes). Raises OSError."""
        buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_BYTES, b"\0"), _ATTR_BYTES)
        result = int(self._libc.syscall(self._number, command, buffer, _ATTR_BYTES))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"bpf(2): {os.strerror(number)}")
        return result


class Counters:
    """Totals per system call number, for as long as they are open."""

    def __init__(self, bpf: Bpf, table: int, attached: int) -> None:
        self._bpf, self._table, self._attached = bpf, table, attached
        self._cpus = possible_cpus()
        self._values = ctypes.create_string_buffer(8 * self._cpus)
        self._seen: list[int] = []

    def read(self, seen_only: bool = False) -> dict[int, int]:
        """Return the number of each system call and how often it was made, if it was.

        Each look takes a system call. Those to the calls that an earlier read has seen come first, so that
        theirs are of one moment; with `seen_only` there are no others.
        """
        found = {number: self._one(number) for number in self._seen}
        if not seen_only:
            others = (number for number in range(MOST_CALLS) if number not in found)
            found |= {number: total for number in others if (total := self._one(number))}
            self._seen = list(found)
        return found

    def close(self) -> None:
        """Take the program off the tracepoint; the totals are gone."""
        os.close(self._attached)
        os.close(self._table)

    def _one(self, number: int) -> int:
        key = ctypes.c_uint32(number)
        places = struct.pack("IxxxxQQ", self._table, ctypes.addressof(key), ctypes.addressof(self._values))
        self._bpf.call(_MAP_LOOKUP, places)
        return sum(struct.unpack(f"{self._cpus}Q", self._values.raw))


def possible_cpus() -> int:
    """How many values a per-CPU map has: one for each *possible* CPU, not for each that is online."""
    return len(cpu_list(Path("/sys/devices/system/cpu/possible").read_text()))


def counting_program(table: int, namespace_dev: int, namespace_ino: int) -> bytes:
    """Count, if the task is in the namespace and is not its process 1: table[number of the call] += 1."""
    instructions = [
        _i(0xBF, 6, 1),  # r6 = context; args[1] of sys_enter is the call's number
        *_wide(1, namespace_dev),
        *_wide(2, namespace_ino),
        _i(0xBF, 3, 10), _i(0x07, 3, imm=-16),  # r3 = where (pid, tgid) goes on the stack
        _i(0xB7, 4, imm=8),
        _i(0x85, imm=_NS_PID_HELPER),
        _i(0x55, 0, offset=12, imm=0),  # not of this namespace: leave
        _i(0x61, 1, 10, offset=-12),  # tgid inside the namespace
        _i(0x15, 1, offset=10, imm=1),  # the container's init: leave
        _i(0x79, 1, 6, offset=8),
        _i(0x63, 10, 1, offset=-4),
        _i(0xBF, 2, 10), _i(0x07, 2, imm=-4),  # r2 = &number
        *_wide(1, table, source=1),
        _i(0x85, imm=_LOOKUP_HELPER),
        _i(0x15, 0, offset=2, imm=0),  # a number beyond the table: leave
        _i(0xB7, 1, imm=1),
        _i(0xDB, 0, 1),  # *(u64 *)r0 += 1, atomically
        _i(0xB7, 0, imm=0),
        _i(0x95),
    ]  # fmt: skip
    return b"".join(instructions)


def _i(code: int, target: int = 0, source: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    """One eBPF instruction (RFC 9669)."""
    return struct.pack("<BBhi", code, source << 4 | target, offset, imm)


def _wide(target: int, value: int, source: int = 0) -> tuple[bytes, bytes]:
    """Load a 64-bit constant (two instructions); source 1 makes it a map's descriptor."""
    low, high = struct.unpack("<ii", struct.pack("<Q", value))
    return _i(0x18, target, source, imm=low), _i(0, imm=high)
