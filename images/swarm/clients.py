"""What kinds of clients the users are."""

from __future__ import annotations

from dataclasses import dataclass

from . import fields
from .errors import SettingsError
from .fields import JsonObject

MAX_SLOW_BYTES_PER_S = 100.0  # one byte every 10 ms, which is the engine's tick


@dataclass(frozen=True)
class Clients:
    """Shares of the users; those that are neither idle nor slow carry the load."""

    idle_share: float = 0.0  # hold a connection and never use it
    slow_share: float = 0.0  # write or read a few bytes a second
    slow_side: str = "write"
    slow_bytes_per_s: float = 10.0
    churn: bool = False  # a new connection for every request


def parse_clients(raw: JsonObject) -> Clients:
    """Check the `clients` setting.

    Raises:
        SettingsError: A setting is wrong; the message names it.
    """
    fields.refuse_unknown(
        raw, "clients", ("idle_share", "slow_share", "slow_side", "slow_bytes_per_s", "churn")
    )
    clients = Clients(
        idle_share=fields.fraction(raw, "idle_share"),
        slow_share=fields.fraction(raw, "slow_share"),
        slow_side=fields.one_of(raw, "slow_side", ("write", "read"), "write"),
        slow_bytes_per_s=fields.positive(raw, "slow_bytes_per_s", 10.0),
        churn=fields.boolean(raw, "churn"),
    )
    if clients.idle_share + clients.slow_share > 1:
        raise SettingsError("clients: idle_share and slow_share together are more than 1")
    if clients.slow_bytes_per_s > MAX_SLOW_BYTES_PER_S:
        raise SettingsError(
            f"clients.slow_bytes_per_s: at most {MAX_SLOW_BYTES_PER_S:g}, one byte per tick of the engine"
        )
    if clients.idle_share and clients.churn:
        raise SettingsError("clients: a client cannot both hold its connection and churn")
    return clients
