"""The environment of a run in words: what a reader asks first, and everything that was recorded."""

from __future__ import annotations

from lab.analysis.model import Summary
from lab.report.content.text import clean, leaf_texts
from lab.results.fact_labels import label
from lab.results.record import Run

HEADINGS = ("fact", "value")
KEY_FACTS = (
    "host.cpu_model", "host.cpus", "host.memory_bytes", "host.kernel", "host.congestion_control",
    "host.cgroup", "host.governor", "host.smt", "host.clock_source", "host.transparent_hugepages",
    "host.interrupt_time", "host.boot_id", "host.machine_id", "overhead.cpu",
    "engine.version", "placement.server", "placement.swarm", "lab", "revision",
)  # fmt: skip
MORE = ("limits", "seed", "argv", "scenario_sha256")


def key_facts(summary: Summary) -> list[list[str]]:
    """Rows under HEADINGS: what a reader asks first."""
    known = dict(leaf_texts(summary.environment))
    return [[label(fact), known[fact]] for fact in KEY_FACTS if fact in known]


def all_facts(run: Run, summary: Summary) -> list[list[str]]:
    """Rows under HEADINGS: all that was recorded, with the limits, the seed and the command line."""
    manifest = run.manifest.to_json()
    recorded = {**summary.environment, **{name: manifest[name] for name in MORE if name in manifest}}
    return [[clean(label(fact)), shown] for fact, shown in leaf_texts(recorded)]
