"""The verbs end to end, on the local runtime: run, rerun, merge, and report from a bundle."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.lab_command import SMALL, environment, lab

# 50 requests are enough to see that figures come about; the checks say that they are too few to be believed.
INVALID = 5


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_two_jobs_of_a_matrix_are_merged_bundled_and_run_again(tmp_path: Path) -> None:
    cells = json.loads(lab("matrix", "smoke").stdout)[1:]
    assert [cell["server"] for cell in cells] == ["thread", "epoll_lt"]

    env = environment(**SMALL)

    def job(cell: dict[str, str]) -> None:
        where = ["--results", tmp_path / cell["name"], "--no-repeats", "--json"]
        done = lab(
            "run",
            cell["scenario"],
            "--server",
            cell["server"],
            *where,
            code=INVALID,
            env=env,
        )
        assert set(summary(done)["servers"]) == {cell["server"]}  # type: ignore[call-overload]

    with ThreadPoolExecutor() as runners:
        list(runners.map(job, cells))

    jobs = [tmp_path / cell["name"] for cell in cells]
    merged = summary(lab("merge", *jobs, "--results", tmp_path / "results", "--json", code=INVALID))
    servers = merged["servers"]
    assert isinstance(servers, dict)
    assert set(servers) == {"thread", "epoll_lt"}
    assert all(server["connections_peak"] == 4 for server in servers.values())

    archive = tmp_path / "run.tar.gz"
    lab("bundle", "latest", "-o", archive, "--results", tmp_path / "results")
    theirs = ["--results", tmp_path / "theirs", "--no-repeats", "--json"]
    again = lab("rerun", archive, *theirs, code=INVALID)
    assert set(summary(again)["servers"]) == {"thread", "epoll_lt"}  # type: ignore[call-overload]
    manifest = json.loads((tmp_path / "theirs/latest/manifest.json").read_text())
    assert manifest["rerun_of"] == merged["run"]
    resolved = [path.read_text() for path in sorted(tmp_path.glob("**/scenario.resolved.yaml"))]
    assert len(resolved) == 5
    assert len(set(resolved)) == 1
