"""What the servers' benchmark tells: rows of figures with their ratios, and the table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

REFERENCE, SAME_WORK = "plain uvloop", "uvloop"


@dataclass(frozen=True)
class Cost:
    """What one server cost and brought in one run of wrk; memory in bytes, if it was looked at."""

    cpu_us_per_request: float
    requests_per_s: float
    memory_per_connection: float | None = None


def rows_of(rounds: list[dict[str, Cost]], name: str, connections: int) -> list[dict[str, Any]]:
    """Return the rows of one server: its figures to the first reference, its CPU to the second as well."""
    figures = (("cpu_us_per_request", "us"), ("requests_per_s", "1/s"), ("memory_per_connection", "B"))
    wanted = [(what, unit, REFERENCE) for what, unit in figures] + [(*figures[0], SAME_WORK)]
    return [row(rounds, name, connections, what, unit, peer) for what, unit, peer in wanted]


def row(
    rounds: list[dict[str, Cost]], name: str, connections: int, figure: str, unit: str, peer: str
) -> dict[str, Any]:
    """Return one row: a server's figure, and its ratio to the peer of the same round if that has one."""
    seen = [one for one in rounds if getattr(one[name], figure) is not None]
    compared = [one for one in seen if peer in one and getattr(one[peer], figure)]
    ratios = [getattr(one[name], figure) / getattr(one[peer], figure) for one in compared]
    return {
        "name": f"{name}: {figure} at {connections} connections, to {peer}",
        "server": name,
        "connections": connections,
        "what": figure,
        "figure": median(getattr(one[name], figure) for one in seen),
        "unit": unit,
        "peer": peer,
        "ratio": median(ratios) if ratios else None,
        "spread": [min(ratios), max(ratios)] if ratios else None,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print a line per server and number of connections."""
    heads = f"{'connections':>11} {'server':14}{'CPU us/request':>15}{f'to {REFERENCE}':>20}"
    print(f"{heads}{f'to {SAME_WORK}':>20}{'requests/s':>12}{'B/connection':>14}")
    by_key = {(row["connections"], row["server"], row["what"], row["peer"]): row for row in rows}
    for connections, server in dict.fromkeys((row["connections"], row["server"]) for row in rows):
        cpu, rate, memory = (
            by_key[connections, server, what, REFERENCE]
            for what in ("cpu_us_per_request", "requests_per_s", "memory_per_connection")
        )
        same_work = by_key[connections, server, "cpu_us_per_request", SAME_WORK]
        print(
            f"{connections:11} {server:14}{cpu['figure']:15.2f}{ratio(cpu):>20}{ratio(same_work):>20}", end=""
        )
        print(f"{rate['figure']:12.0f}{memory['figure']:14.0f}")


def ratio(row: dict[str, Any]) -> str:
    """Return a row's ratio and its spread, for people."""
    return f"{row['ratio']:.2f} ({row['spread'][0]:.2f}–{row['spread'][1]:.2f})" if row["ratio"] else "-"
