"""Run one build on the engine, with a deadline; an error carries the builder's own message."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from lab.common.errors import NoMeasurement
from lab.engine.api import Engine

BUILD_S = 600.0
LABEL = "lab.image"


def build_image(
    engine: Engine,
    context: bytes,
    tag: str,
    name: str,
    arguments: Mapping[str, str],
    *,
    dockerfile: str = "Dockerfile",
    network_mode: str = "none",
) -> None:
    """Build the packed `context` as `tag`, labelled as the lab's image `name`. Raises NoMeasurement."""

    def build() -> list[dict[str, Any]]:
        answer = engine.api.build(
            fileobj=io.BytesIO(context),
            custom_context=True,
            dockerfile=dockerfile,
            tag=tag,
            buildargs=dict(arguments),
            labels={LABEL: name},
            network_mode=network_mode,
            rm=True,
            forcerm=True,
            decode=True,
            timeout=int(BUILD_S),
        )
        return list(answer)

    for line in engine.call(f"build {tag}", build, deadline_s=BUILD_S):
        if "error" in line:
            raise NoMeasurement(f"building {tag} failed: {line['error'].strip()}")
