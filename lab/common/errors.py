"""Errors, each with the exit code of the command (README: exit codes)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the `lab` command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    HOST_CANNOT = 3
    NO_MEASUREMENT = 4
    UNTRUSTED = 5
    THRESHOLD = 99
    INTERRUPTED = 130
    READER_GONE = 141  # 128 + SIGPIPE, as shells report it: `lab report | head`


# Several results at once end with the first of these. A code that is not here is an error of the lab itself.
PRECEDENCE = (
    Exit.INTERRUPTED, Exit.INTERNAL, Exit.USAGE, Exit.HOST_CANNOT, Exit.NO_MEASUREMENT, Exit.UNTRUSTED,
    Exit.THRESHOLD, Exit.OK,
)  # fmt: skip


def worst(codes: Iterable[int]) -> Exit:
    """Return the exit code for several results together; OK where there are none."""
    found = [Exit(code) if code in PRECEDENCE else Exit.INTERNAL for code in codes]
    return min(found, key=PRECEDENCE.index, default=Exit.OK)


class LabError(Exception):
    """An error that a person can act on: its one-line message says what is wrong and what would be right."""

    exit_code = Exit.INTERNAL


class UsageError(LabError):
    """The scenario or the command line is wrong."""

    exit_code = Exit.USAGE


class HostCannot(LabError):
    """This host lacks what was asked for: a limit, a kernel feature, a Docker engine."""

    exit_code = Exit.HOST_CANNOT


class NoMeasurement(LabError):
    """There is no measurement: a node was never ready, the engine was lost."""

    exit_code = Exit.NO_MEASUREMENT
