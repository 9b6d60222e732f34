"""A server of a scenario: its model or image, and its limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from lab.scenario import catalog
from lab.scenario.problem import wrong
from lab.scenario.strict import Bytes, ScenarioModel, unknown


def _model(text: str) -> str:
    known = catalog.models()
    if text not in known:
        raise ValueError(unknown(text, list(known), "model"))
    return text


class Server(ScenarioModel):
    """One server container: a `model` of the catalog, or an `image` of your own.

    With both, `image` is another build of the lab's server image (`lab compare --ab`).
    """

    model: Annotated[str, AfterValidator(_model)] | None = None
    image: str | None = None
    port: int = Field(default=9102, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    backlog: int = Field(default=4096, ge=1, le=65535)
    cpus: float | None = Field(default=None, gt=0)
    memory: Bytes | None = None
    nofile: int | None = Field(default=None, ge=64)
    pids: int | None = Field(default=None, ge=8)

    @model_validator(mode="after")
    def _check_source(self) -> Server:
        if self.model is None and self.image is None:
            raise ValueError("a server needs a model of the catalog, or an image")
        if self.model and self.workers > 1 and not catalog.models()[self.model].workers:
            message = f"{self.model} runs as one process: workers must be 1"
            raise wrong(message, ("workers",), ("model",))
        return self
