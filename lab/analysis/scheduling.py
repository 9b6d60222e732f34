"""In which scheduling class the processes of a run's load ran: a fact of its environment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lab.results.node import ProcessClass
from lab.results.record import TrialRecord

KINDS = {"engine": "engines", "users": "engines", "delay line": "delay_lines", "server": "server"}


def policies(trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Return by kind of process (engines, delay_lines, server) the policies that its processes ran under."""
    return {kind: ", ".join(sorted(set(map(_policy, each)))) for kind, each in _by_kind(trials)}


def facts(trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Return `policies` in words, with who set the class, its budget, or why it is not real-time."""
    return {kind: "; ".join(dict.fromkeys(map(_words, each))) for kind, each in _by_kind(trials)}


def _by_kind(trials: Iterable[TrialRecord]) -> Iterator[tuple[str, list[ProcessClass]]]:
    processes = [one for trial in trials for one in trial.scheduling or ()]
    for kind in dict.fromkeys(KINDS.values()):
        if each := [one for one in processes if _kind(one) == kind]:
            yield kind, each


def _kind(one: ProcessClass) -> str:
    return KINDS.get(one.task, KINDS["engine"])


def _policy(one: ProcessClass) -> str:
    """`SCHED_RR`; both where it changed under load."""
    changed = one.policy_at_end is not None and one.policy_at_end != one.policy
    policy = one.policy or "unknown"
    return f"{policy}, later {one.policy_at_end}" if changed else policy


def _words(one: ProcessClass) -> str:
    if one.runtime_us is not None and one.period_us is not None:
        budget = f"{one.runtime_us / 1000:g} ms in {one.period_us / 1000:g} on each CPU"
        return f"{_policy(one)} (set from {one.by}; {budget})"
    return f"{_policy(one)} ({one.why_not})" if one.why_not else _policy(one)
