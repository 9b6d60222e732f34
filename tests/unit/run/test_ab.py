"""Two versions side by side: what of a scenario is doubled, and where the sources of a version come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.common.errors import UsageError
from lab.plan import plan
from lab.run import ab
from tests.support.scenarios import TEXT, resolved

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
MORE = """\
links:
  - {endpoints: [swarm, servers], delay: 5ms}
events:
  - {at: 1s, pause: thread, for: 100ms}
  - {at: 1s, link: [swarm, servers], set: {loss: 2%}}
thresholds: {thread: {errors: ['rate<1%']}}
expect: {epoll_lt: {max_open: 5}}
sweep: {swarm.users: [10, 20]}
"""


def test_every_server_is_there_twice_and_differs_in_its_image_alone(tmp_path: Path) -> None:
    doubled, pairs = ab.alternatives(resolved(tmp_path, TEXT + MORE), ONE, OTHER, 3)
    servers = doubled.scenario.servers
    assert pairs == [("thread.base", "thread.head"), ("epoll_lt.base", "epoll_lt.head")]
    assert list(servers) == [name for pair in pairs for name in pair]
    for base, head in pairs:
        assert (servers[base].image, servers[head].image) == (ONE, OTHER)
        assert servers[base].model_copy(update={"image": OTHER}) == servers[head]
        assert servers[base].model == base.removesuffix(".base")


def test_what_is_said_of_a_server_is_said_of_both(tmp_path: Path) -> None:
    scenario = ab.alternatives(resolved(tmp_path, TEXT + MORE), ONE, OTHER, 3)[0].scenario
    assert set(scenario.thresholds) == {"thread.base", "thread.head"}
    assert set(scenario.expect) == {"epoll_lt.base", "epoll_lt.head"}
    assert [event.node for event in scenario.events] == ["thread.base", "thread.head", None]
    assert len(scenario.links) == 1


def test_a_block_holds_both_once_at_every_point(tmp_path: Path) -> None:
    doubled, _ = ab.alternatives(resolved(tmp_path, TEXT + MORE), ONE, OTHER, 3)
    trials = plan.expand(doubled).trials
    assert len(trials) == 2 * 2 * 2 * 3
    for repeat in (1, 2, 3):
        block = [(t.server, t.point["swarm.users"]) for t in trials if t.repeat == repeat]
        assert len(set(block)) == len(block) == 8
    orders = {tuple(t.id.split("/")[0] for t in trials if t.repeat == repeat) for repeat in (1, 2, 3)}
    assert len(orders) > 1


def test_a_sweep_over_a_server_is_refused(tmp_path: Path) -> None:
    text = TEXT + "sweep: {servers.epoll_lt.workers: [1, 2]}\n"
    with pytest.raises(UsageError, match="cannot be doubled"):
        ab.alternatives(resolved(tmp_path, text), ONE, OTHER, 3)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    for number in (1, 2):
        for name in ("images/x.py", "requirements/x.txt", "other.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(f"{number}\n")
        git("add", ".")
        git("commit", "-q", "-m", f"{number}")
        git("tag", f"v{number}")
    return tmp_path


def test_sources_are_those_of_the_ref_and_go_again(repository: Path) -> None:
    before = sorted(path for path in (repository / ".git").rglob("*"))
    with ab.sources(ab.commit("v1", repository), repository) as folder:
        assert (folder / "images/x.py").read_text() == "1\n"
        assert sorted(path.name for path in folder.iterdir()) == ["images", "requirements"]
    assert not folder.exists()
    assert (repository / "images/x.py").read_text() == "2\n"
    assert sorted(path for path in (repository / ".git").rglob("*")) == before


@pytest.mark.parametrize("ref", ["v3", "--all", ""])
def test_what_is_no_ref_is_said(repository: Path, ref: str) -> None:
    with pytest.raises(UsageError, match="no commit"):
        ab.commit(ref, repository)
