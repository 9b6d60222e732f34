"""A restart in place: the same command in the same process (execve(2)).

Memory and descriptors are new, as after any restart. The process keeps its number, its cgroup, its namespaces
with their links, its standard output and its getrusage(2), and it takes its totals along: to whoever watches
it, it is one server that was away for a moment.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

from iomodels.stats import STATS

CARRIED = "LAB_CARRIED"


def begin() -> NoReturn:
    """Begin anew, once everything has been stopped."""
    os.environ[CARRIED] = json.dumps(STATS.carried())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def take_over() -> None:
    """Go on from the totals of the program that this process was before, if it was one."""
    if CARRIED in os.environ:
        STATS.carry_on(json.loads(os.environ.pop(CARRIED)))
