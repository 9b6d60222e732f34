"""The settings of lab.yaml."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator

from lab.scenario.strict import ScenarioModel

RuntimeName = Literal["auto", "docker", "local"]


def _pool(text: str) -> str:
    network = ipaddress.ip_network(text)
    if not network.is_private and not network.subnet_of(ipaddress.ip_network("198.18.0.0/15")):  # type: ignore[arg-type]
        raise ValueError(f"{text} is not a private network: the lab's traffic must stay on this machine")
    if network.version != 4 or network.prefixlen > 22:
        raise ValueError(f"{text} must be an IPv4 network of /22 or larger")
    return text


class Settings(ScenarioModel):
    """The settings of lab.yaml, without its `defaults`."""

    runtime: RuntimeName = "auto"
    results: str = "results"
    network_pool: Annotated[str, AfterValidator(_pool)] = "198.18.0.0/15"
    real_time: bool = True
