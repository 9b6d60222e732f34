"""The whole lab on real netem: its engine, its containers and one `lab run`, all in user-mode Linux."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.common.paths import ROOT
from lab.engine import images
from testbed import uml as boot
from tests.support import uml_engine_images as engine_images
from tests.support.runtimes import docker_client

DEADLINE_S = 500.0  # it takes some 85 s of CPU time, on one core that others may want too
# What an engine needs of a kernel beside what netem's own tests do. The last line makes names resolve.
MODULES = (
    *("br_netfilter", "overlay", "x_tables", "xt_conntrack", "xt_addrtype", "xt_tcpudp", "xt_NFQUEUE"),
    *("ip_tables", "iptable_filter", "iptable_nat", "iptable_mangle", "iptable_raw", "xt_nat"),
)
SCENARIO = """\
# Does the whole line hold on real netem?
name: netem
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  users: 10
  workers: 1
  load: {executor: constant-users, think-time: 200ms}
  phases: {warmup: 2s, measure: 2s}
links:
  - {endpoints: [swarm, servers], delay: 20ms, loss: 1%}
"""


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Path]:
    """A folder to share with the kernel, with the lab's images and the scenario in it."""
    if reason := boot.why_not():
        pytest.skip(reason)
    if reason := boot.why_not():
        pytest.skip(reason)
    folder = tmp_path / "uml"
    folder.mkdir()
    with docker_client() as client:
        if reason := engine_images.why_not(client):
            pytest.skip(reason)
        tags = images.build(client, ["server", "swarm", "nettools"], print)
        engine_images.write(client, tags.values(), folder / "images")
    (folder / "netem.yaml").write_text(SCENARIO)
    return folder


@pytest.mark.uml
@pytest.mark.docker
@pytest.mark.timeout(DEADLINE_S + 30)
def test_a_run_on_real_netem_says_what_was_asked_configured_and_measured(lent: Path) -> None:
    """The figures of the load are nobody's business here.

    That kernel has one CPU for everything and a clock of 100 ticks a second: the checks may, and mostly do,
    call its trial INVALID. What is held is that the trial came to its end, and that its link is true.
    """
    argv = [
        sys.executable,
        "-m",
        "tests.support.uml_lab_inside",
        "/mnt/images",
        "/mnt/netem.yaml",
        "/mnt/results",
    ]
    ended = boot.run(argv, lent, ROOT, DEADLINE_S, memory="1G", modules=MODULES)
    assert ended.code in (0, 5), f"{ended.output[-6000:]}\n{ended.console[-2000:]}"
    [run] = [path for path in (lent / "results").iterdir() if not path.is_symlink()]
    record = json.loads((run / "trials" / "epoll_lt-1" / "record.json").read_text())
    assert (record["status"], record["runtime"]) == ("ok", "docker")
    assert [answers["ok"] for answers in record["verify"]] == [True, True]
    assert record["load"]["result"]["answered"] > 0
    [link] = record["links"]
    holds_on_netem(link)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["verdict"] in ("PASS", "INVALID", "INCONCLUSIVE")
    assert summary["links"][0]["backend"] == "netem"


def holds_on_netem(link: dict[str, Any]) -> None:
    """Requested = configured = measured, on both sides, by the kernel and by nobody else."""
    assert (link["backend"], link["stamp"], link["problems"]) == ("netem", "", [])
    assert link["requested"] == {"delay_ms": 20.0, "loss": 0.01}
    assert set(link["configured"]) == {"worker-0 eth1", "server eth0"}
    for side in link["configured"].values():
        assert (side["delay_ms"], side["loss"]) == (20.0, 0.01)
    for when in ("before", "after"):
        # Load makes a round trip longer, never shorter. How exact netem is: test_netem.py.
        assert link["measured"][when]["rtt_min_ms"] >= 40
    assert all(counted["packets"] > 300 for counted in link["counters"].values())
    # Of some 1,500 packets, about 15: none at all happens once in three million runs.
    assert sum(counted["dropped"] for counted in link["counters"].values()) > 0
