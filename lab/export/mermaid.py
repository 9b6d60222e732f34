"""The first trial of a scenario as a Mermaid diagram: nodes, networks, links, load. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.export.link_words import link_words
from lab.plan.plan import Plan
from lab.scenario.resolve import Resolved
from lab.scenario.swarm import SwarmGroup


def mermaid(resolved: Resolved, expanded: Plan) -> str:
    """Return the text of a flowchart (https://mermaid.js.org/syntax/flowchart.html)."""
    first = expanded.trials[0]
    swarm = first.scenario.swarm
    nodes = [(group.master, group.workers) for group in swarm.all_groups]
    load = "; ".join(_load_words(group) for group in swarm.all_groups)
    lines = [
        "flowchart LR",
        f'  subgraph swarm["swarm: {swarm.users:,} users, {load}, wire {swarm.wire}"]',
        *(f'    {_node(name)}["{name}"]' for master, workers in nodes for name in (master, *workers)),
        "  end",
        f'  subgraph servers["servers, one at a time, handler {_text(first.scenario.handler)}"]',
        *(f'    {_id(name)}["{_text(label)}"]' for name, label in _servers(resolved)),
        "  end",
        *(
            f"  {_node(master)} -. control .- {_node(worker)}"
            for master, workers in nodes
            for worker in workers
        ),
        f"  swarm {_edge(link_words(resolved.data))} servers",
    ]
    return "\n".join(lines) + "\n"


def _load_words(group: SwarmGroup) -> str:
    words = group.swarm.load.describe()
    return f"{group.name}: {group.swarm.users:,} users, {words}" if group.name else words


def _node(name: str) -> str:
    """Return a node of the swarm as an identifier: `worker-0` is `worker0`."""
    return re.sub(r"[^a-z0-9]", "", name)


def _servers(resolved: Resolved) -> Iterator[tuple[str, str]]:
    for name, server in resolved.scenario.servers.items():
        what = server.model or server.image or ""
        many = f" ×{server.workers}" if server.workers > 1 else ""
        yield name, f"{name}{many}" if what == name else f"{name}: {what}{many}"


def _edge(links: list[str]) -> str:
    if not links:
        return '-- "data: clean link" ---'
    return f'== "{_text("<br>".join(links))}" ==='


def _id(name: str) -> str:
    """Return an identifier that is no keyword of Mermaid (`end`, `graph` …)."""
    return "server_" + re.sub(r"[^a-z0-9]", lambda match: f"_{ord(match[0])}_", name)


def _text(text: str) -> str:
    """Escape text inside quotes: Mermaid takes HTML entities for what would end them."""
    return text.replace('"', "#quot;")
