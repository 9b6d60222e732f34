"""What a row of the table of figures says: its unit, where it is read from, where it is shown."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

Unit = Literal["/s", "ms", "share", "µs", "B", ""]
OverTrials = Literal["median", "most"]
Gated = Literal["always", "closed", "never"]


@dataclass(frozen=True)
class PerRequest:
    """Counters of the server's own statistics: what they grew by in the window, added up, ÷ its requests."""

    counters: tuple[str, ...]

    @property
    def read_from(self) -> str:
        """Where the figure comes from, for docs."""
        return f"the server's statistics: {' + '.join(self.counters)} ÷ requests"


@dataclass(frozen=True)
class Quotient:
    """Two counters of the server's own statistics: growth of one in the window ÷ growth of the other."""

    top: str
    bottom: str

    @property
    def read_from(self) -> str:
        """Where the figure comes from, for docs."""
        return f"the server's statistics: {self.top} ÷ {self.bottom}"


@dataclass(frozen=True)
class Peak:
    """The highest sample of the whole trial, from the first of these (collector, metric) that was sampled."""

    sources: tuple[tuple[str, str], ...]

    @property
    def read_from(self) -> str:
        """Where the figure comes from, for docs."""
        return "; else ".join(f"collector {source}, {metric}" for source, metric in self.sources)


@dataclass(frozen=True)
class Increase:
    """The last sample of a trial less its first."""

    source: str
    metric: str

    @property
    def read_from(self) -> str:
        """Where the figure comes from, for docs."""
        return f"collector {self.source}, {self.metric}"


@dataclass(frozen=True)
class Computed:
    """A figure with a function of its own in analysis.figures."""

    read_from: str


Source = PerRequest | Quotient | Peak | Increase | Computed


@dataclass(frozen=True)
class Compared:
    """How `lab compare` takes a figure: a change within `margin` is none; `gate` says when it decides."""

    margin: float = 0.10
    gate: Gated = "never"


@dataclass(frozen=True)
class Figure:
    """One figure: a row of the table.

    Args:
        name: The key in comparisons, and in thresholds if neither `threshold` nor `field` is set. (Those of
            quantiles are written `latency: p(N)`, those of errors `errors: rate`.)
        unit: The unit of its values.
        better: Which direction is better; None where neither is.
        source: Where it is read from.
        title, per: The heading of its column and what it is counted by.
        noun: Its name within a sentence.
        explains: One to three sentences for legends and docs.
        needs: The checks without which it may not be believed.
        over_trials: How the figures of several trials become one.
        field: The attributes that lead to it in TrialFigures and ServerSummary, if not `name`.
        threshold: The word for it in a scenario's thresholds, if not `name`.
        whole: Whether it counts things.
        column, per_trial, behind: In which tables it stands: servers, trials, what is behind the costs.
        swept: Whether its growth over a sweep is told.
        compared: How `lab compare` takes it; None where it does not.
        explained_by: Of a cost: the figures that may explain it.
        counted_as: Of a figure that may explain a cost: its words, with `{}` for the value.
        least: Differences of less than this are not spoken of.
        fallback: The figure that is shown where this one was not measured.
    """

    name: str
    unit: Unit
    better: Literal["higher", "lower"] | None
    source: Source
    _: KW_ONLY
    title: str
    per: str
    noun: str
    explains: str
    needs: tuple[str, ...]
    over_trials: OverTrials = "median"
    field: tuple[str, ...] = ()
    threshold: str = ""
    whole: bool = False
    column: bool = False
    per_trial: bool = False
    behind: bool = False
    swept: bool = False
    compared: Compared | None = None
    explained_by: tuple[str, ...] = ()
    counted_as: str = ""
    least: float = 0.01
    fallback: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The attributes that lead to it from TrialFigures or ServerSummary."""
        return self.field or (self.name,)

    @property
    def heading(self) -> str:
        """Title and unit on one line: `CPU [µs/request]`, `memory/connection`."""
        return f"{self.title}{self.per}" if self.per.startswith("/") else f"{self.title} [{self.per}]"
