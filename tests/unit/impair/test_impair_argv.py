"""tc commands: pure, so tested as a table."""

from __future__ import annotations

import pytest

from lab.impair import argv
from lab.impair.link import Egress
from lab.scenario.impairment import Impairment


def egress(peers: tuple[str, ...], impairment: Impairment) -> Egress:
    return Egress("a", "data", peers=peers, impairment=impairment)


NETEM = "tc qdisc replace dev eth1 root handle 1: netem"


@pytest.mark.parametrize(
    ("impairment", "options"),
    [
        (Impairment(), "limit 1000"),
        (Impairment(delay_ms=20), "delay 20ms limit 30000"),
        (Impairment(delay_ms=0.25), "delay 0.25ms limit 1000"),
        (Impairment(delay_ms=20, limit_packets=77), "delay 20ms limit 77"),
        (Impairment(delay_ms=20, jitter_ms=5), "delay 20ms 5ms rate 100gbit limit 60000"),
        (
            Impairment(delay_ms=20, jitter_ms=5, delay_correlation=0.25, distribution="pareto"),
            "delay 20ms 5ms 25% distribution pareto rate 100gbit limit 60000",
        ),
        (Impairment(loss=0.001), "loss random 0.1% limit 1000"),
        (Impairment(loss=0.001, loss_correlation=0.3), "loss random 0.1% 30% limit 1000"),
        (Impairment(loss_state=(0.1, 0.2, 0.3, 0.4, 0.5)), "loss state 10% 20% 30% 40% 50% limit 1000"),
        (Impairment(loss_gemodel=(0.01, 0.5, 0.9, 0)), "loss gemodel 1% 50% 90% 0% limit 1000"),
        (Impairment(corrupt=0.01, duplicate=0.02), "corrupt 1% duplicate 2% limit 1000"),
        (
            Impairment(delay_ms=10, jitter_ms=1, reorder=0.25, reorder_correlation=0.5, reorder_gap=5),
            "delay 10ms 1ms reorder 25% 50% gap 5 limit 21000",
        ),
        (Impairment(rate_bit_per_s=10e6), "rate 10000000bit limit 83"),
        # 20 ms of 10 mbit are at most 391 small frames, half as many again, and 100 ms of full ones queue
        (Impairment(delay_ms=20, rate_bit_per_s=10e6), "delay 20ms rate 10000000bit limit 669"),
    ],
)
def test_netem_argv(impairment: Impairment, options: str) -> None:
    assert " ".join(argv.netem_argv("eth1", impairment)) == f"{NETEM} {options}"


def test_a_change_keeps_the_order_of_what_is_under_way() -> None:
    assert argv.change("eth1", [egress((), Impairment(delay_ms=50))], 0, Impairment(delay_ms=5)) == [
        f"{NETEM} delay 5ms rate 100gbit limit 7500".split()
    ]


def test_chances_make_tcp_send_single_segments() -> None:
    commands = argv.build("eth1", [egress((), Impairment(loss=0.1))])
    assert commands[:2] == [
        ["ip", "link", "set", "dev", "eth1", "gso_max_segs", "1"],
        "ip route flush cache".split(),  # noqa: SIM905
    ]
    assert argv.clear("eth1")[-1] == ["ip", "link", "set", "dev", "eth1", "gso_max_segs", "65535"]
    assert argv.build("eth1", [egress((), Impairment(delay_ms=1))])[0][0] == "tc"


def test_different_peers_become_classes_with_filters() -> None:
    egresses = [
        egress(("198.18.1.2", "198.18.2.0/24"), Impairment(delay_ms=30)),
        egress((), Impairment(delay_ms=5)),
        egress(("2001:db8::1",), Impairment(delay_ms=7)),
    ]
    lines = [" ".join(command).replace(" dev eth1", "") for command in argv.build("eth1", egresses)]
    assert lines[0] == "tc qdisc replace root handle 1: htb default 11"
    assert "tc class replace parent 1: classid 1:10 htb rate 100gbit quantum 60000" in lines
    assert "tc qdisc replace parent 1:10 handle 10: netem delay 30ms limit 45000" in lines
    filters = [line for line in lines if " filter " in line]
    assert filters == [
        "tc filter add parent 1: protocol ip prio 1 u32 match ip dst 198.18.1.2/32 flowid 1:10",
        "tc filter add parent 1: protocol ip prio 9 u32 match ip dst 198.18.2.0/24 flowid 1:10",
        "tc filter add parent 1: protocol ipv6 prio 201 u32 match ip6 dst 2001:db8::1/128 flowid 1:12",
    ]
    assert [argv.handle(egresses, index) for index in range(3)] == ["10:", "11:", "12:"]
    changed = argv.change("eth1", egresses, 2, Impairment(delay_ms=9))
    assert changed[0][:8] == ["tc", "qdisc", "replace", "dev", "eth1", "parent", "1:12", "handle"]


def test_without_a_default_egress_the_rest_passes() -> None:
    lines = argv.build("eth1", [egress(("198.18.1.2",), Impairment(delay_ms=30))])
    assert lines[0][-2:] == ["default", "0"]
