"""The `lab` command as a process of its own, as a user starts it, and what a run of it left in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from lab.common.paths import ROOT

LAB = (sys.executable, "-m", "lab.cli")
DEADLINE_S = 240.0  # for what hangs
# A short load on plain processes, as the environment sets it.
SMALL = {
    "LAB_RUNTIME": "local",
    "LAB_SET_SWARM__USERS": "4",
    "LAB_SET_SWARM__LOAD__RATE": "50/s",
    "LAB_SET_SWARM__PHASES__WARMUP": "1s",
    "LAB_SET_SWARM__PHASES__MEASURE": "1s",
    "LAB_SET_SWARM__DRAIN": "1s",
}
# A run that measured. Whether its figures may be believed depends on the host too: 5 says that they may not.
MEASURED = (0, 5)

Codes = int | Collection[int]


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with `more`, without what changes a scenario or tells of a CI."""
    foreign = ("LAB_SET_", "LAB_RUNTIME", "GITHUB_", "GITLAB_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | more


def start(
    *arguments: object, env: Mapping[str, str] | None = None, into: IO[str] | None = None
) -> subprocess.Popen[str]:
    """Start `lab` with these arguments; both streams go `into` a file or, without one, to a pipe each."""
    return subprocess.Popen(
        [*LAB, *map(str, arguments)],
        cwd=ROOT,
        env=dict(env or environment()),
        stdin=subprocess.DEVNULL,
        stdout=into or subprocess.PIPE,
        stderr=subprocess.STDOUT if into else subprocess.PIPE,
        text=True,
    )


def lab(
    *arguments: object, code: Codes = 0, env: Mapping[str, str] | None = None, deadline_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run `lab` to its end. Raises AssertionError with its output when the exit code is not one of `code`."""
    with start(*arguments, env=env) as process:
        try:
            out, err = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"lab ran for more than {deadline_s:g} s: {out}{err}") from None
    codes = (code,) if isinstance(code, int) else code
    assert process.returncode in codes, f"exit code {process.returncode}: {out}{err}"
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Project:
    """A folder with one scenario, and the runs of it.

    Attributes:
        scenario: the scenario's file.
        results: the folder of its runs.
        options: of every run of it.
    """

    def __init__(self, folder: Path, text: str, *options: str) -> None:
        self.scenario, self.results, self.options = folder / "scenario.yaml", folder / "results", options
        self.scenario.write_text(text)

    def argv(self, *more: object) -> list[object]:
        """Return the arguments of `lab` that run it."""
        return ["run", self.scenario, "--results", self.results, *self.options, *more]

    def start(self, *more: object) -> subprocess.Popen[str]:
        """Start a run."""
        return start(*self.argv(*more))

    def run(self, *more: object, code: Codes = MEASURED) -> subprocess.CompletedProcess[str]:
        """Run it to its end; see `lab`."""
        return lab(*self.argv(*more), code=code)

    @property
    def run_id(self) -> str:
        """The run that began last: a test that a busy host disturbed is tried again in the same folder."""
        return max(path.name for path in self.results.iterdir() if not path.is_symlink())

    @property
    def latest(self) -> Path:
        """The folder of the last run."""
        return self.results / "latest"

    @property
    def summary(self) -> dict[str, Any]:
        """The last run's summary.json."""
        found: dict[str, Any] = json.loads((self.latest / "summary.json").read_text())
        return found

    def record(self, trial: str) -> dict[str, Any]:
        """Return the record.json of a trial of the last run, by its folder's name such as `epoll_lt-1`."""
        found: dict[str, Any] = json.loads((self.latest / "trials" / trial / "record.json").read_text())
        return found


def read_until(process: subprocess.Popen[str], text: str, deadline_s: float = 60.0) -> str:
    """Read a run's plain lines up to the first that holds `text`, and return that one."""
    assert process.stderr is not None
    end, lines = time.monotonic() + deadline_s, []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return line
        assert time.monotonic() < end, "".join(lines)
    raise AssertionError("it ended before: " + "".join(lines))


def said(summary: Mapping[str, Any], check: str, level: str = "invalid") -> str:
    """Return what a check found at a level, as one text."""
    findings = summary["findings"]
    return " ".join(f["says"] for f in findings if (f["check"], f["level"]) == (check, level))
