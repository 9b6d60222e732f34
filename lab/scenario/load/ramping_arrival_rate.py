"""ramping-arrival-rate: from a first rate, in straight lines, to the rate of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lab.scenario.load.executor import OpenLoad, register
from lab.scenario.load.fields import LoadFields


@register
class RampingArrivalRate(OpenLoad):
    """A rate that changes within the window. After the last stage it stays as it is."""

    name = "ramping-arrival-rate"
    required: ClassVar[Mapping[str, str]] = {
        "start-rate": "100/s",
        "stages": "[{duration: 5s, target: 900/s}]",
    }
    optional = ("arrivals",)
    ramping = True

    def rates(self, load: LoadFields) -> tuple[float, ...]:
        """The first rate, and that at the end of each stage."""
        return (load.start_rate or 0.0, *(float(stage.target) for stage in load.stages))

    def settings(self, load: LoadFields) -> dict[str, Any]:
        """LAB_SWARM's `load`."""
        return {
            "executor": self.name,
            "start_rate_per_s": load.start_rate,
            **self.arrivals_settings(load),
            "stages": [{"duration_s": s.duration, "target_per_s": s.target} for s in load.stages],
        }
