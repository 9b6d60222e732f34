"""The settings of lab.yaml."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator

from lab.scenario.strict import ScenarioModel

RuntimeName = Literal["auto", "docker", "local"]


def _pool(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 network: write it like 198.18.0.0/15") from None
    if not network.is_private and not network.subnet_of(ipaddress.IPv4Network("198.18.0.0/15")):
        raise ValueError(f"{text} is not a private network: the lab's traffic must stay on this machine")
    if network.prefixlen > 22:
        raise ValueError(f"{text} is too small: write a network of /22 or larger, such as 198.18.0.0/15")
    return text


class Settings(ScenarioModel):
    """The settings of lab.yaml, without its `defaults`."""

    runtime: RuntimeName = "auto"
    results: str = "results"
    network_pool: Annotated[str, AfterValidator(_pool)] = "198.18.0.0/15"
    real_time: bool = True
