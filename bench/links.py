#!/usr/bin/env python3
"""How true and how dear are links? The delay line beside kernel netem and beside a plain veth.

Network namespaces on one bridge, as in tests/contract. Here: a plain veth and the delay line. In user-mode
Linux: a plain veth and the kernel's netem. An error is always against the plain veth of the same kernel.
Writes results/bench/links.json. `--check` takes a tenth of the samples and writes nothing. Quiet the machine
first: what else runs on it is measured too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lab.common.paths import ROOT
from lab.impair.apply import ImpairedLinks, applied
from lab.impair.link import Egress, Link
from lab.results.link import Directions
from lab.scenario.impairment import Impairment
from testbed import uml as boot
from testbed.namespaces import Namespaces, namespaces, overtakers

DELAYS_MS = (1, 5, 20, 50, 100)
UNTOUCHED = Impairment()
AIMS = {"rtt error, mean": 0.3, "rtt error, p99": 1.0, "CPU, constant": 4.0, "CPU, jitter and loss": 6.0}
DRAIN_DEADLINE_S = 2.0
LOADED_DELAYS_MS = (5, 20, 50)
LOAD_PACKETS_PER_S = 20_000
COST_PACKETS_PER_S = (50_000, 100_000)
FLOOD_PACKETS_PER_S = (25_000, 50_000, 100_000, 150_000, 200_000)
COSTS = {
    "CPU, constant": Impairment(delay_ms=20),
    "CPU, jitter and loss": Impairment(delay_ms=20, jitter_ms=5, loss=0.01),
}
VOCABULARY = {
    "delay": Impairment(delay_ms=20),
    "jitter uniform": Impairment(delay_ms=20, jitter_ms=5, seed=1),
    "jitter normal": Impairment(delay_ms=20, jitter_ms=3, distribution="normal", seed=2),
    "jitter pareto": Impairment(delay_ms=20, jitter_ms=3, distribution="pareto", seed=3),
    "jitter paretonormal": Impairment(delay_ms=20, jitter_ms=3, distribution="paretonormal", seed=4),
    "jitter correlated": Impairment(delay_ms=20, jitter_ms=5, delay_correlation=0.5, seed=5),
    "loss random": Impairment(delay_ms=5, loss=0.05, seed=6),
    "loss correlated": Impairment(delay_ms=5, loss=0.05, loss_correlation=0.3, seed=7),
    "loss state": Impairment(delay_ms=5, loss_state=(0.05, 0.4, 0.2, 0.6, 0.02), seed=8),
    "loss gemodel": Impairment(delay_ms=5, loss_gemodel=(0.02, 0.3, 0.8, 0.0), seed=9),
    "corrupt": Impairment(delay_ms=5, corrupt=0.05, seed=10),
    "duplicate": Impairment(delay_ms=5, duplicate=0.1, seed=11),
    "reorder": Impairment(delay_ms=10, reorder=0.25, seed=12),
    "reorder gap": Impairment(delay_ms=10, reorder=1.0, reorder_gap=5, seed=13),
    "rate": Impairment(delay_ms=5, rate_bit_per_s=2e6),
}


@dataclass(frozen=True)
class Row:
    """One figure of the report: `ratio` is value ÷ peer's value, `spread` its interquartile range."""

    figure: str
    case: str
    value: float | None
    unit: str
    spread: float | None = None
    aim: float | None = None
    peer: str = ""
    peer_value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the ratio to the peer's value."""
        ratio = self.value / self.peer_value if self.value is not None and self.peer_value else None
        return asdict(self) | {"ratio": ratio}


def main() -> int:
    """Exit code 0 when everything was measured, whatever the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="a tenth of the samples; writes nothing")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    samples = 50 if arguments.check else 500
    if arguments.inside:
        arguments.inside.write_text(json.dumps(measure("netem", samples)))
        return 0
    here = measure("delayline", samples)
    there = in_user_mode_linux(arguments.check)
    report = {
        "rows": [row.to_json() for row in compare(here, there)],
        "vocabulary": {"delayline": here["vocabulary"], "netem": there and there["vocabulary"]},
        "why_no_netem": boot.why_not(),
    }
    show(report)
    if not arguments.check:
        out = ROOT / "results" / "bench" / "links.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")
        print(f"\nwritten: {out.relative_to(ROOT)}")
    return 0


def measure(backend: str, samples: int) -> dict[str, Any]:
    """All figures of one backend on this kernel."""
    with tempfile.TemporaryDirectory() as folder, namespaces(Path(folder)) as net:
        found: dict[str, Any] = {
            "plain": round_trips(net, "none", UNTOUCHED, samples),
            "delays": {
                delay_ms: round_trips(net, backend, Impairment(delay_ms=delay_ms), samples)
                for delay_ms in DELAYS_MS
            },
            "vocabulary": {name: one_word(net, backend, to, samples) for name, to in VOCABULARY.items()},
        }
        if backend == "delayline":
            found["cost"] = {
                name: {rate: cost(net, to, rate, samples) for rate in COST_PACKETS_PER_S}
                for name, to in COSTS.items()
            }
            found["loaded"] = {
                delay_ms: loaded_round_trips(net, delay_ms, samples) for delay_ms in LOADED_DELAYS_MS
            }
            found["flood"] = [flood(net, rate, samples) for rate in FLOOD_PACKETS_PER_S]
        return found


@contextmanager
def impaired(net: Namespaces, backend: str, there: Impairment, back: Impairment) -> Iterator[ImpairedLinks]:
    """Set up the link a ↔ b with that in each direction."""
    egresses = (Egress("a", "data"), Egress("b", "data", "back"))
    link = Link(("a", "b"), Directions(there, back), egresses, ("a",), net.address("b"))
    with applied(net, [link], backend) as links:
        yield links


def round_trips(net: Namespaces, backend: str, each_way: Impairment, samples: int) -> list[float]:
    """Round-trip times in ms of echoes, 5 ms apart, over a link that is impaired alike in both directions."""
    with impaired(net, backend, each_way, each_way):
        asked = {"do": "probe", "host": net.address("b"), "count": samples, "interval_ms": 5}
        return list(net.ask("a", asked)["rtt_ms"]["samples"])


def one_word(net: Namespaces, backend: str, to: Impairment, samples: int) -> dict[str, Any]:
    """Measure one impairment over numbered datagrams one way, 1 ms apart."""
    count = 4 * samples
    with impaired(net, backend, to, UNTOUCHED) as links:
        payload, interval_us = (1000, 500) if to.rate_bit_per_s else (100, 1000)
        seen = net.flow(["receive", 0.5], ["send", net.address("b"), count, interval_us, payload])
        links.read()
        record = links.records()[0]
    delays, numbers = sorted(seen["delays_ms"]), seen["numbers"]
    return {
        "requested": record.requested.to_json(),
        "configured": record.configured["a eth0"].to_json(),
        "measured": {
            "delay_p50_ms": round(delays[len(delays) // 2], 3),
            "delay_deviation_ms": round(statistics.pstdev(delays), 3),
            "lost": round(1 - len(set(numbers)) / count, 4),
            "duplicated": round(len(numbers) / len(set(numbers)) - 1, 4),
            "out_of_order": round(len(overtakers(numbers)) / count, 4),
            "rate_bit_per_s": round(
                len(numbers) * (payload + 42) * 8 / (seen["times"][-1] - seen["times"][0])
            ),
        },
        "counters": record.counters["a eth0"].model_dump(),
    }


def loaded_round_trips(net: Namespaces, delay_ms: float, samples: int) -> list[float]:
    """As `round_trips`, while other packets take the same way there."""
    each_way = Impairment(delay_ms=delay_ms)
    seconds = (samples * 5 + 4 * delay_ms) / 1000 + 0.5
    load = net.flooding(LOAD_PACKETS_PER_S, round(LOAD_PACKETS_PER_S * seconds))
    with impaired(net, "delayline", each_way, each_way), load:
        asked = {"do": "probe", "host": net.address("b"), "count": samples, "interval_ms": 5}
        return list(net.ask("a", asked)["rtt_ms"]["samples"])


def cost(net: Namespaces, to: Impairment, packets_per_s: int, samples: int) -> dict[str, list[float]]:
    """CPU time in µs per packet, of five floods.

    `line`: of the delay line's process, with the delivery that its verdicts set off. `both`: of it and the
    sender. `plain`: of the sender over a plain veth, where it is the one to be charged with the delivery.
    """
    found: dict[str, list[float]] = {"line": [], "both": [], "plain": []}
    count = packets_per_s * samples // 250
    for _ in range(5):
        sender_s, line_s = _flood_cpu_s(net, None, packets_per_s, count)
        found["plain"].append(sender_s * 1e6 / count)
        with impaired(net, "delayline", to, UNTOUCHED):
            sender_s, line_s = _flood_cpu_s(net, _delay_line(net), packets_per_s, count)
        found["line"].append(line_s * 1e6 / count)
        found["both"].append((sender_s + line_s) * 1e6 / count)
    return found


def _flood_cpu_s(net: Namespaces, line: int | None, packets_per_s: int, count: int) -> tuple[float, float]:
    """CPU seconds of the sender and of the delay line, if there is one, until the last packet has left."""
    before_s = _cpu_s(line) if line else 0.0
    sender_s = net.flood(packets_per_s, count)["cpu_s"]
    if not line:
        return sender_s, 0.0
    end = time.monotonic() + DRAIN_DEADLINE_S
    while _held(line):
        if time.monotonic() > end:
            raise SystemExit(
                f"the delay line holds {_held(line)} packets {DRAIN_DEADLINE_S} s after the flood"
            )
        time.sleep(0.002)
    return sender_s, _cpu_s(line) - before_s


def flood(net: Namespaces, packets_per_s: int, samples: int) -> dict[str, Any]:
    """Measure what becomes of so many packets a second at a constant delay of 20 ms."""
    with impaired(net, "delayline", Impairment(delay_ms=20), UNTOUCHED) as links:
        sent = net.flood(packets_per_s, packets_per_s * samples // 250)
        links.read()
        counters = links.records()[0].counters["a eth0"]
    return {
        "asked_per_s": packets_per_s,
        "sent_per_s": round(sent["sent"] / sent["seconds"]),
        "dropped": (counters.dropped_queue or 0) + counters.dropped_user,
        "lateness_us": counters.lateness_us and counters.lateness_us.model_dump(),
    }


def in_user_mode_linux(check: bool) -> dict[str, Any] | None:
    """Return netem's figures, from a kernel that has it; None where none can be booted."""
    if boot.why_not():
        return None
    with tempfile.TemporaryDirectory() as folder:
        argv = [
            sys.executable,
            "bench/links.py",
            "--inside",
            "/mnt/rows.json",
            *(["--check"] if check else []),
        ]
        ended = boot.run(argv, Path(folder), ROOT, deadline_s=600)
        if ended.code != 0:
            raise SystemExit(f"user-mode Linux: {ended.output[-3000:]}\n{ended.console[-1000:]}")
        found: dict[str, Any] = json.loads((Path(folder) / "rows.json").read_text())
    found["delays"] = {int(delay_ms): samples for delay_ms, samples in found["delays"].items()}
    return found


def compare(here: Mapping[str, Any], there: Mapping[str, Any] | None) -> Iterator[Row]:
    """Yield the table: the delay line's figures, netem's as the peer's."""
    for name, part in (("rtt error, mean", statistics.fmean), ("rtt error, p99", _p99)):
        for delay_ms in DELAYS_MS:
            value, peer = (
                part(found["delays"][delay_ms]) - 2 * delay_ms - statistics.fmean(found["plain"])
                if found
                else None
                for found in (here, there)
            )
            spread = _spread(here["delays"][delay_ms])
            yield Row(name, f"{delay_ms} ms each way", value, "ms", spread, AIMS[name], "netem", peer)
    for found, label in ((here, "here"), (there, "user-mode Linux")):
        if found:
            plain = found["plain"]
            yield Row("plain veth, round trip", label, statistics.fmean(plain), "ms", _spread(plain))
    for delay_ms, samples in here["loaded"].items():
        case = f"{delay_ms} ms, {LOAD_PACKETS_PER_S:,} packets/s"
        for name, part in (("loaded rtt error, mean", statistics.fmean), ("loaded rtt error, p99", _p99)):
            value = part(samples) - 2 * delay_ms - statistics.fmean(here["plain"])
            yield Row(name, case, value, "ms", _spread(samples))
    for name, rates in here["cost"].items():
        for packets_per_s, cost_us in rates.items():
            yield from _cost_rows(name, f"{packets_per_s:,} packets/s", cost_us)
    whole = [step["sent_per_s"] for step in here["flood"] if not step["dropped"]]
    yield Row("packets without loss", "20 ms", max(whole, default=None), "packets/s", aim=100_000.0)


def _cost_rows(name: str, case: str, cost_us: Mapping[str, list[float]]) -> Iterator[Row]:
    line_us, both_us, plain_us = (statistics.median(cost_us[who]) for who in ("line", "both", "plain"))
    yield Row(name, case, line_us, "µs/packet", _spread(cost_us["line"]), AIMS[name])
    both = f"{name}, with the sender"
    yield Row(both, case, both_us, "µs/packet", _spread(cost_us["both"]), None, "plain veth", plain_us)
    yield Row(f"{name}, added to a plain veth", case, both_us - plain_us, "µs/packet")


def show(report: Mapping[str, Any]) -> None:
    """Print the table for people."""
    print(f"{'figure':44} {'case':24} {'value':>9} {'spread':>7} {'aim':>9} {'peer':>7}  unit")
    for row in report["rows"]:
        cells = [_number(row[key]) for key in ("value", "spread", "aim", "peer_value")]
        figures = f"{cells[0]:>9} {cells[1]:>7} {cells[2]:>9} {cells[3]:>7}"
        peer = f" ({row['peer']})" if row["peer_value"] is not None else ""
        print(f"{row['figure']:44} {row['case']:24} {figures}  {row['unit']}{peer}")
    show_vocabulary(report["vocabulary"], report["why_no_netem"])


def show_vocabulary(found: Mapping[str, Any], why_no_netem: str | None) -> None:
    """Compare what was requested, what each backend then held, and what came of it, for every word."""
    if not found["netem"]:
        print(f"\nnetem: not measured: {why_no_netem}")
    for word, to in VOCABULARY.items():
        print(f"\n{word}: requested {_words(to.to_json())}")
        for backend, measured in found.items():
            if measured:
                print(f"  {backend:10} configured {_words(measured[word]['configured'])}")
                print(f"  {'':10} measured   {_words(measured[word]['measured'])}")


def _delay_line(net: Namespaces) -> int:
    """Process id of the delay line of node a: its agent's only child."""
    agent = net.agents["a"].pid
    return int(Path(f"/proc/{agent}/task/{agent}/children").read_text().split()[0])


def _cpu_s(process: int) -> float:
    """CPU time of a process of one thread, in nanosecond resolution: proc(5), /proc/PID/schedstat."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def _held(line: int) -> int:
    """Packets that wait in the queues of the delay line's network namespace."""
    rows = Path(f"/proc/{line}/net/netfilter/nfnetlink_queue").read_text().splitlines()
    return sum(int(row.split()[2]) for row in rows)


def _p99(samples: list[float]) -> float:
    return sorted(samples)[round(0.99 * (len(samples) - 1))]


def _spread(samples: list[float]) -> float:
    low, _, high = statistics.quantiles(samples, n=4)
    return high - low


def _words(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in data.items() if name != "seed")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
