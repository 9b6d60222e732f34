"""Timed events of a scenario: changes of links and nodes during the measured window.

`at` counts from the start of the window; after `for` the change is undone. A ramp stays at its last value.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, model_validator

from lab.scenario.link import D, Direction, LinkSpec, override
from lab.scenario.problem import wrong
from lab.scenario.strict import Bytes, Name, ScenarioModel, Seconds, as_written, kebab

ACTIONS = ("set", "merge", "clear", "ramp", "partition", "pause", "kill", "restart", "limit")
RAMP_STEPS = 10
# All packets are dropped.
PARTITIONED = Direction.model_validate({"loss": "100%"})


class Ramp(ScenarioModel):
    """A linear change of a link's values to those of `to`, in equal steps over `for`."""

    to: Direction
    steps: Annotated[int, Field(ge=2, le=1000)] = RAMP_STEPS

    @model_validator(mode="after")
    def _check_fields(self, info: ValidationInfo) -> Ramp:
        for name, value in self.to if as_written(info) else ():
            if value is None:
                continue
            try:
                is_number = _number(self.to, name) is not None
            except ValueError as error:
                raise wrong(str(error), ("to", name)) from None
            if not is_number:
                message = f"{kebab(name)} cannot change in steps: write it with set or merge"
                raise wrong(message, ("to", kebab(name)), at_key=True)
        return self


class Event(ScenarioModel):
    """One event: exactly one action on a link or a node, `at` a time after the window starts.

    Links: `set`, `merge`, `clear`, `ramp`, `partition`. Nodes: `pause`, `kill`, `restart`, `limit`.
    """

    at: Seconds
    duration: Seconds | None = Field(default=None, alias="for")
    link: tuple[Name, Name] | None = Field(default=None, strict=False)
    set: Direction | None = None
    merge: Direction | None = None
    clear: bool | None = None
    ramp: Ramp | None = None
    partition: tuple[Name, Name] | None = Field(default=None, strict=False)
    pause: Name | None = None
    kill: Name | None = None
    restart: Name | None = None
    limit: Name | None = None
    cpus: float | None = Field(default=None, gt=0)
    memory: Bytes | None = None

    @property
    def action(self) -> str:
        """The one action of this event."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)

    @property
    def endpoints(self) -> tuple[str, str] | None:
        """The endpoints of the link that the event changes, or None where it changes a node."""
        return self.link or self.partition

    @property
    def node(self) -> str | None:
        """The node that the event changes, by its name in the scenario, or None where it changes a link."""
        return self.pause or self.kill or self.restart or self.limit

    @property
    def change(self) -> tuple[Direction, tuple[str, ...]] | None:
        """The values that the event sets at its link, and their path in the event, or None."""
        if self.ramp is not None:
            return self.ramp.to, ("ramp", "to")
        set_or_merge = self.set or self.merge
        return (set_or_merge, (self.action,)) if set_or_merge else None

    def overlaps(self, later: Event) -> bool:
        """Tell whether `later` begins while this event lasts, and changes the same thing."""
        if self.duration is None or not self.at <= later.at < self.ends_s:
            return False
        if self.endpoints is not None:
            return self.endpoints == later.endpoints
        shares = self.cpus is not None and later.cpus is not None
        shares = shares or (self.memory is not None and later.memory is not None)
        return self.node == later.node and self.action == later.action and (shares or self.action != "limit")

    @property
    def ends_s(self) -> float:
        """The end of the event, in seconds after the start of the window."""
        return self.at + (self.duration or 0.0)

    @model_validator(mode="after")
    def _one_action(self) -> Event:
        found = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(found) != 1:
            has = ", ".join(found) or "none"
            message = f"an event has exactly one of {', '.join(ACTIONS)}; this one has {has}"
            raise wrong(message, *((name,) for name in found[1:]), at_key=bool(found))
        action = found[0]
        on_link = action in ("set", "merge", "clear", "ramp")
        if on_link and self.link is None:
            message = f"{action} needs a link: {{at: …, link: [swarm, servers], {action}: …}}"
            raise wrong(message, (action,), at_key=True)
        if not on_link and self.link is not None:
            raise wrong(f"{action} takes no link", ("link",), at_key=True)
        if action in ("pause", "partition", "ramp") and self.duration is None:
            raise wrong(f"{action} needs `for`, its duration", (action,), at_key=True)
        if action in ("kill", "restart", "clear") and self.duration is not None:
            raise wrong(f"{action} cannot be undone: leave out `for`", ("for",), at_key=True)
        limits = [name for name in ("cpus", "memory") if getattr(self, name) is not None]
        if action == "limit" and not limits:
            raise wrong("limit needs cpus or memory", ("limit",), at_key=True)
        if action != "limit" and limits:
            message = f"{action} takes no cpus and no memory: they belong to limit"
            raise wrong(message, (limits[0],), at_key=True)
        if action == "clear" and self.clear is not True:
            raise wrong("clear must be true", ("clear",))
        return self

    @property
    def undone(self) -> bool:
        """Whether its change is undone after `for`; that of a ramp stays."""
        return self.duration is not None and self.action != "ramp"


def moments_s(event: Event, spec: LinkSpec | None) -> tuple[float, float | None]:
    """When an event begins and ends, in seconds after the start of the window; no end for a single moment.

    `spec`: the link that it changes, or None where it changes a node.
    """
    if spec is not None:
        times = [at_s for at_s, _ in link_changes(spec, event)]
        return times[0], times[-1] if len(times) > 1 else None
    return event.at, event.ends_s if event.undone else None


def stalls(event: Event, spec: LinkSpec | None) -> bool:
    """Whether an event keeps answers away: a node that stands still or is gone, a link that loses all."""
    if spec is None:
        return event.action in ("pause", "kill", "restart")
    changed = (one for _, to in link_changes(spec, event) for one in to.impairments())
    return any(one.loss_share >= 1.0 for one in changed)


def link_changes(spec: LinkSpec, event: Event) -> list[tuple[float, LinkSpec]]:
    """Return the changes that an event makes to a link: (seconds into the window, the link from then on)."""
    blank = LinkSpec(endpoints=spec.endpoints)
    changed: list[tuple[float, LinkSpec]]
    if event.action == "clear":
        changed = [(event.at, blank)]
    elif event.set is not None:
        changed = [(event.at, _with_fields(blank, event.set))]
    elif event.merge is not None:
        changed = [(event.at, _with_fields(spec, event.merge))]
    elif event.ramp is not None:
        return _ramp_steps(spec, event, event.ramp)
    else:
        changed = [(event.at, _with_fields(spec, PARTITIONED))]
    if event.duration is not None:
        changed.append((event.ends_s, spec))
    return changed


def _with_fields(spec: LinkSpec, change: Direction) -> LinkSpec:
    """Return the link with the fields that `change` sets, in both directions."""
    own = {name: override(one, change) for name in ("there", "back") if (one := getattr(spec, name))}
    return override(spec, change).model_copy(update=own)


def _ramp_steps(spec: LinkSpec, event: Event, ramp: Ramp) -> list[tuple[float, LinkSpec]]:
    assert event.duration is not None
    changed = []
    for step in range(1, ramp.steps + 1):
        share = step / ramp.steps
        own = {
            name: _between(one, ramp.to, share) for name in ("there", "back") if (one := getattr(spec, name))
        }
        link = _between(spec, ramp.to, share, unset=0.0).model_copy(update=own)
        changed.append((event.at + event.duration * share, link))
    return changed


def _between(start: D, end: Direction, share: float, unset: float | None = None) -> D:
    """Return `start` after this share of a ramp to `end`.

    A field that `start` does not set starts at `unset`, or is left out where that is None.
    """
    fields: dict[str, float | dict[str, float]] = {}
    for name in Direction.model_fields:
        last = _number(end, name)
        if last is None:
            continue
        first = _number(start, name)
        first = unset if first is None else first
        if first is not None:
            value = first + (last - first) * share
            fields[name] = {"loss": value} if name == "loss" else value
    return start.model_copy(update=fields)


def _number(direction: Direction, name: str) -> float | None:
    """Return the value that a ramp changes. Raises ValueError for a loss that is not a percentage."""
    if name != "loss" or direction.loss is None:
        value = getattr(direction, name)
        return value if isinstance(value, float) else None
    random = direction.loss.get("loss")
    if not isinstance(random, float):
        raise ValueError("a ramp of loss needs a percentage at both ends")
    return random
