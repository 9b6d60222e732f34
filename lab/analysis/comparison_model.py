"""The shape of a comparison, as `lab compare --json` prints it. Ratios are head ÷ base: 1.05 is 5 % more."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.analysis.model import SummaryModel
from lab.analysis.statistics import Decision


class MetricRow(SummaryModel):
    """One metric of one server: medians, the paired ratio with its exact 95 % interval, the decision.

    With `base_at_least` or `head_at_least` a figure of that side is a lower bound in some trial: it may be
    higher, and no decision rests on its being low.

    `mde` is the least ratio that these pairs would have found with a power of 80 %. `gated` metrics decide,
    the others are shown.
    """

    metric: str
    unit: str
    worse: Literal["higher", "lower"]
    gated: bool
    margin: float
    pairs: int
    base: float | None = None
    head: float | None = None
    base_at_least: bool = False
    head_at_least: bool = False
    ratio: float | None = None
    ci95: tuple[float, float] | None = None
    bootstrap95: tuple[float, float] | None = None
    p_holm: float | None = None
    mde: float | None = None
    decision: Decision = "INCONCLUSIVE"
    improved: bool = False
    says: str = ""


class ServerComparison(SummaryModel):
    """One server at one sweep point. `dropped` are repeats that lack a valid trial on either side."""

    server: str
    head_server: str
    pairs: int
    dropped: tuple[str, ...] = ()
    decision: Decision = "INCONCLUSIVE"
    metrics: tuple[MetricRow, ...] = ()


class Drift(SummaryModel):
    """One fact of the environment in which the runs differ. One that `matters` prevents a decision."""

    fact: str
    base: str
    head: str
    matters: bool


class HeadComparison(SummaryModel):
    """One head run against the base. `blocked`: what differs so that nothing can be decided."""

    head: str
    decision: Decision = "INCONCLUSIVE"
    blocked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    servers: tuple[ServerComparison, ...] = ()


class Comparison(SummaryModel):
    """Base against one head or several. `refusal` says why these runs can gate nothing, if so."""

    schema_version: Literal[1] = 1
    base: str
    decision: Decision = "INCONCLUSIVE"
    exit_code: int = 5
    refusal: str | None = None
    heads: tuple[HeadComparison, ...] = Field(default_factory=tuple)
