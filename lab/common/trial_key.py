"""The name of a trial, `server[,path=value…]/repeat`: made and taken apart here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class TrialKey(NamedTuple):
    """Which trial: the server, the sweep point as text (`users=10,cpus=2`, or empty), the repeat from 1."""

    server: str
    point: str
    repeat: int

    @classmethod
    def of(cls, server: str, point: Mapping[str, Any], repeat: int) -> TrialKey:
        """Name a trial by the last word of each swept path and its value."""
        text = ",".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in point.items())
        return cls(server, text.replace("/", "_per_").replace(" ", ""), repeat)

    @classmethod
    def parse(cls, text: str) -> TrialKey:
        """Take an id apart. Raises ValueError for what is none."""
        group, _, repeat = text.rpartition("/")
        server, _, point = group.partition(",")
        digits = repeat.isascii() and repeat.isdecimal() and len(repeat) < 10
        key = cls(server, point, int(repeat)) if digits else None
        if key is None or not server or "/" in group or "\0" in group or key.repeat < 1 or key.id != text:
            raise ValueError(f"{text!r} is not the id of a trial: it must read server[,path=value…]/repeat")
        return key

    @classmethod
    def of_folder(cls, name: str) -> TrialKey:
        """Take a folder's name apart. Raises ValueError for what is none."""
        return cls.parse("/".join(name.rsplit("-", 1)))

    @property
    def group(self) -> str:
        """The server at its sweep point: what all repeats share."""
        return f"{self.server},{self.point}" if self.point else self.server

    @property
    def id(self) -> str:
        """The text, as records and findings have it."""
        return f"{self.group}/{self.repeat}"

    @property
    def folder(self) -> str:
        """The trial's folder below the run's: the id with no slash in it."""
        return f"{self.group}-{self.repeat}"
