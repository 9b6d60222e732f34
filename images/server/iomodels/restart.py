"""Restart in place: run the same command again in the same process (execve(2)).

Memory and descriptors are new, as after any restart. The process keeps its pid, its cgroup, its namespaces
with their links, its standard output and its getrusage(2); its totals are passed on in the environment. So
observers see one server that was away for a moment.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

from iomodels.stats import STATS

TOTALS_VARIABLE = "LAB_CARRIED"


def execute() -> NoReturn:
    """Replace this program by a new run of the same command; call it when everything is stopped."""
    os.environ[TOTALS_VARIABLE] = json.dumps(STATS.snapshot())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def restore_totals() -> None:
    """Start from the totals of the program before the restart, if there was one."""
    if TOTALS_VARIABLE in os.environ:
        STATS.restore(json.loads(os.environ.pop(TOTALS_VARIABLE)))
