"""What only the delay line guarantees: exact probabilities, no packet passes when it dies, few privileges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.common.errors import HostCannot, LabError
from lab.impair.apply import ImpairedLinks, applied
from lab.results.link import Directions
from lab.scenario.impairment import Impairment
from testbed.namespaces import CTL, Namespaces, namespaces, run
from tests.support.impair_flows import LATE_MS, counters, flow, link, measured, share_bounds
from tests.support.runtimes import HANGS_S, until

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespaces]:
    with namespaces(tmp_path_factory.mktemp("helpers")) as made:
        yield made


def test_correlation_does_not_change_the_loss_rate(net: Namespaces) -> None:
    count = 2000
    impairment = Impairment(loss=0.2, loss_correlation=0.5, seed=11)
    with applied(net, [link(net, impairment)], "delayline") as links:
        seen = flow(net, count, 300)
        assert counters(links).dropped_asked == count - len(seen["numbers"])
    lost = 1 - len(seen["numbers"]) / count
    low, high = share_bounds(0.2, count // 3)  # ρ = 0.5 leaves (1 − ρ)/(1 + ρ) as many independent samples
    assert low <= lost <= high


def test_nothing_is_lost_with_connection_tracking(net: Namespaces) -> None:
    """The first packets of a flow, held while its connection is unconfirmed, must not clash on release."""
    rule = ["INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"]
    inside = ["ip", "netns", "exec", net.namespace("a")]
    run(*inside, "iptables", "-A", *rule)
    try:
        with applied(net, [link(net, Impairment(delay_ms=50, jitter_ms=1))], "delayline") as links:
            assert measured(links).lost == 0
    finally:
        run(*inside, "iptables", "-D", *rule)


@pytest.mark.alone
def test_nothing_is_lost_or_early_when_wake_ups_and_polling_alternate(net: Namespaces) -> None:
    """Under load the delay line polls, unless it needs contents; in the pauses packets wake it."""
    impairments = [
        Impairment(delay_ms=20, rate_bit_per_s=1e9),
        Impairment(delay_ms=20, jitter_ms=2, seed=3),
        Impairment(delay_ms=20, corrupt=1e-9),
        Impairment(delay_ms=20),
    ]
    with applied(net, [link(net, Impairment(delay_ms=20))], "delayline") as links:
        receiver = net.begin("b", "receive", 0.5)
        for _ in range(3):
            sender = net.begin("a", "send", net.address("b"), 2000, 50, 64)
            for to in impairments:
                links.change(0, Directions(to))
            assert json.loads(sender.readline()) == "sent"
        seen = json.loads(receiver.readline())
        assert seen["numbers"] == [*range(2000)] * 3
        assert counters(links).dropped == counters(links).held == 0
        assert min(seen["delays_ms"]) > 20 - 2 - 0.5  # its jitter, and what polling may take off


def test_reading_the_configuration_keeps_the_lateness(net: Namespaces) -> None:
    with applied(net, [link(net, Impairment(delay_ms=5))], "delayline"):
        flow(net, 100, 300)
        shown = net.ask("a", {"do": "configured", "interface": "eth0"})
        assert shown["configured"]["queues"][0]["impairment"]["delay_ms"] == 5
        [queue] = net.ask("a", {"do": "read", "interface": "eth0"})["queues"]
        assert queue["counters"]["lateness_us"]["samples"] >= 100


def test_ctl_sends_a_command_and_prints_the_answer(net: Namespaces) -> None:
    net.helper("a")
    done = net.run("a", [*CTL, '{"do": "interfaces"}'], 15)
    assert (done.code, json.loads(done.out)["interfaces"]["eth0"]["addresses"]) == (0, ["198.18.250.1/24"])
    refused = net.run("a", [*CTL, '{"do": "nothing"}'], 15)
    assert (refused.code, json.loads(refused.out)["ok"]) == (1, False)
    assert "known are capabilities, clear" in json.loads(refused.out)["says"]


def the_agent_exits_when_its_delay_line_dies(folder: Path, deadline_s: float) -> None:
    """Packets are dropped meanwhile."""
    with namespaces(folder) as net:
        with _with_agent_gone_at_the_end(net) as links:
            assert measured(links).loss == 0
            agent = net.agents["a"]
            os.kill(_child(agent), signal.SIGKILL)
            assert agent.wait(deadline_s) == 1
            lost = net.run("a", ["python", "-m", "nettools", "probe", net.address("b"), "5", "10"], 10)
            assert json.loads(lost.out)["lost"] == 5
            with pytest.raises(LabError, match="no agent"):
                links.read()
        assert agent.stdout is not None
        last = json.loads(agent.stdout.read().splitlines()[-1])
        assert (last["level"], "delay line died" in last["says"]) == ("error", True)


def the_delay_line_exits_when_its_agent_dies(folder: Path, deadline_s: float) -> None:
    with namespaces(folder) as net, _with_agent_gone_at_the_end(net):
        agent = net.agents.pop("a")
        child = _child(agent)
        agent.kill()
        agent.wait(HANGS_S)
        assert agent.stdout is not None
        agent.stdout.close()
        until(lambda: not Path(f"/proc/{child}").exists(), deadline_s)
        net.agents["a"] = agent


def test_when_the_delay_line_dies_packets_are_dropped_and_the_agent_exits(tmp_path: Path) -> None:
    the_agent_exits_when_its_delay_line_dies(tmp_path, HANGS_S)


def test_when_the_agent_dies_the_delay_line_exits(tmp_path: Path) -> None:
    the_delay_line_exits_when_its_agent_dies(tmp_path, HANGS_S)


@pytest.mark.alone
def test_neither_outlives_the_other_by_five_seconds(tmp_path: Path) -> None:
    the_agent_exits_when_its_delay_line_dies(tmp_path, 5)
    the_delay_line_exits_when_its_agent_dies(tmp_path, 5)


def _child(agent: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()[0])


@contextmanager
def _with_agent_gone_at_the_end(net: Namespaces) -> Iterator[ImpairedLinks]:
    """Apply a delay; at the end the agent must be gone, and clearing the link must report that."""
    with ExitStack() as stack:
        links = stack.enter_context(applied(net, [link(net, Impairment(delay_ms=5))], "delayline"))
        yield links
        with pytest.raises(LabError, match="no agent"):
            stack.close()


def test_without_net_raw_only_duplicate_is_refused(tmp_path: Path) -> None:
    with namespaces(tmp_path, capabilities="+net_admin") as net:
        doubled = link(net, Impairment(delay_ms=5, duplicate=0.1))
        with pytest.raises(HostCannot, match="NET_RAW"), applied(net, [doubled], "delayline"):
            pass
        with applied(net, [link(net, Impairment(delay_ms=20))], "delayline") as links:
            assert measured(links).rtt_min_ms is not None
            assert links.records()[0].configured["a eth0"].delay_ms == 20


@pytest.mark.alone
def test_without_net_raw_a_delay_is_exact(tmp_path: Path) -> None:
    with (
        namespaces(tmp_path, capabilities="+net_admin") as net,
        applied(net, [link(net, Impairment(delay_ms=20))], "delayline") as links,
    ):
        assert measured(links).rtt_min_ms == pytest.approx(20, abs=LATE_MS)
