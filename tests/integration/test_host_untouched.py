"""The host's network is the same before and after a run with links, also when it is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from lab.engine import images
from lab.results import store
from lab.runtime import cleanup
from tests.support.lab_command import MEASURED, Project, read_until
from tests.support.runtimes import docker_client, until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.alone(once=True),  # others must not change the host meanwhile
    pytest.mark.skipif(os.geteuid() != 0, reason="the host's rules are root's to read"),
]
SCENARIO = """\
# Does a run with links leave the host as it was?
name: untouched
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  users: 10
  workers: 1
  load: {executor: constant-arrival-rate, rate: 400/s}
  phases: {warmup: 500ms, measure: 2s}
  connect-deadline: 2s
  request-timeout: 1s
  drain: 1s
links:
  - {endpoints: [swarm, servers], delay: 5ms, duplicate: 5%}
"""
# Read as lines, but for what moves by itself, and what belongs to an interface of a container that is there.
STATE = ("tc qdisc show", "iptables-save", "ip6tables-save", "sysctl -a")
MOVES = re.compile(
    r"^#|^(fs\.(dentry-state|file-nr|inode-nr|inode-state|quota\.)|kernel\.(ns_last_pid|random\.|pty\.nr|perf_event_max)"
    r"|net\.netfilter\.nf_conntrack_count)"
)
COUNTERS = re.compile(r"\[\d+:\d+\]")
OTHERS = re.compile(r"\b(br-[0-9a-f]{12}|veth[0-9a-f]{7})\b")


def host_state() -> set[str]:
    """Queueing disciplines, rules and sysctls of the host, without counters and times."""
    lines: set[str] = set()
    for command in STATE:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        lines |= {f"{command}: {COUNTERS.sub('', line)}" for line in done.stdout.splitlines() if kept(line)}
    return lines


def kept(line: str) -> bool:
    """Whether a line is the host's own; one that names an interface which is no more would be a remainder."""
    named = OTHERS.search(line)
    return not MOVES.search(line) and not (named and Path("/sys/class/net", named[0]).exists())


def unchanged_since(before: set[str]) -> None:
    """The kernel takes a moment to let go of a removed interface; the difference is shown."""
    with contextlib.suppress(AssertionError):
        until(lambda: host_state() == before, 5)
    assert sorted(host_state() ^ before) == []


OPTIONS = ("--no-repeats", "--no-calibration", "--runtime", "docker")


@pytest.fixture
def before() -> set[str]:
    """The host's state once the engine is up and the images are there."""
    with docker_client() as client:
        images.build(client, ["server", "swarm", "nettools"], print)
    return host_state()


def test_a_run_with_links_leaves_the_host_as_it_was_and_its_duplicates_are_seen(
    tmp_path: Path, before: set[str]
) -> None:
    project = Project(tmp_path, SCENARIO, *OPTIONS)
    project.run(code=MEASURED)
    unchanged_since(before)
    [trial] = store.read_run(project.latest).trials
    [link] = trial.links
    assert link.requested.to_json() == {"delay_ms": 5.0, "duplicate": 0.05}
    assert link.problems == ()
    for place, counted in link.counters.items():
        assert link.configured[place].duplicate == 0.05
        # Some 1,000 packets, 5 % of them: 22 is four standard deviations below.
        assert counted.packets > 1000
        assert 22 <= (counted.duplicated or 0) <= 0.1 * counted.packets


def test_nor_does_a_run_that_is_killed_in_the_middle(tmp_path: Path, before: set[str]) -> None:
    project = Project(tmp_path, SCENARIO, *OPTIONS)
    with project.start() as process:
        read_until(process, "measure")
        process.kill()
    with docker_client() as client:
        until(lambda: not client.networks.list(filters={"label": f"lab.run={project.run_id}"}), 15)
        cleanup.reap(client, print)
    unchanged_since(before)
