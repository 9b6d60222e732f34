"""Bad inputs of `lab compare`: each is one error that names its cause, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.common.errors import UsageError
from lab.verbs.compare import compare
from tests.support.runfolders import make_run
from tests.support.scenarios import TEXT

OTHER = TEXT.replace("name: small", "name: other").replace("thread", "poll").replace("epoll_lt", "select")
SWEPT = TEXT + "sweep: {swarm.users: [10, 20]}\n"


def refused(what: list[str], results: Path, within: str | None = None) -> str:
    with pytest.raises(UsageError) as error:
        compare(what, within=within, results=results)
    return str(error.value)


def test_one_run_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path).name
    said = refused([run], tmp_path)
    assert "one run is named" in said
    assert "--within" in said


def test_a_run_with_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path).name
    assert f"same run, {run}" in refused([run, "latest"], tmp_path)


@pytest.mark.parametrize(("text", "theirs"), [(OTHER, "poll, select"), (SWEPT, "thread,users=10")])
def test_runs_without_a_server_in_common(tmp_path: Path, text: str, theirs: str) -> None:
    base, head = make_run(tmp_path).name, make_run(tmp_path, text=text).name
    said = refused([base, head], tmp_path)
    assert "no server, at the same sweep point, is in both runs" in said
    assert f"{base} of small has " in said
    assert "thread" in said
    assert f"{head} of " in said
    for name in theirs.split(", "):
        assert name in said
    assert "one scenario" in said


def test_a_run_without_trials(tmp_path: Path) -> None:
    full = make_run(tmp_path).name
    empty = make_run(tmp_path, missing=("thread/1", "epoll_lt/1")).name
    assert f"{empty} has no trial" in refused([full, empty], tmp_path)
    assert "has no trial" in refused(["thread", "epoll_lt"], tmp_path, within=empty)


def test_within_wants_two_different_servers_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path).name
    for names in (["thread"], ["thread", "thread"], ["thread", "epoll_lt", "thread"]):
        said = refused(names, tmp_path, within=run)
        assert "two different servers" in said
        assert "thread" in said
        assert "epoll_lt" in said
    assert "did you mean thread" in refused(["thraed", "epoll_lt"], tmp_path, within=run)
