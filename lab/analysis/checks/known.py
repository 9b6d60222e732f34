"""Known limits: what the scenario expects of a server (`expect:`), against what was seen."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.checks.evidence import Evidence, Said
from lab.analysis.limits import refused_above, served_at_once


def known_limits(e: Evidence) -> Iterator[Said]:
    """One finding per limit that was expected or seen; what was expected and is seen does not count."""
    users = int(e.swarm["users"])
    seen = {"max_open": refused_above(e.trial), "served_at_once": served_at_once(e.trial)}
    for name, found in seen.items():
        most = e.expects.get(name)
        if found is not None and most is not None and found <= most:
            says = f"{_words(name, found)}: a known limit, expected ({name}: {most})"
            yield Said("ok", says, value=found, expected=True)
        elif found is not None:
            yield Said(
                "suspect", _words(name, found), f"where that is known, say `{name}` under `expect:`", found
            )
        elif most is not None and users > most:
            says = (
                f"the expected limit {name}: {most} was not met, though {users:,} connections were asked for"
            )
            yield Said("suspect", says, "mend the scenario's `expect:`, or find out why")


def _words(name: str, seen: int) -> str:
    if name == "max_open":
        return f"the server refused connections above {seen:,} open ones"
    plural = "s" if seen > 1 else ""
    return f"the server served {seen:,} connection{plural} at once while the others waited"
