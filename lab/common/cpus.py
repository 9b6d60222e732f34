"""CPU lists as Linux writes them, in /sys and for cpusets."""

from __future__ import annotations


def cpu_list(text: str) -> list[int]:
    """Return the CPUs of a list: `"0,2-3"` is [0, 2, 3]; an empty text is []. Raises ValueError.

    The format is that of cpuset(7), "List format".
    """
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        low, _, high = part.partition("-")
        cpus.extend(range(int(low), int(high or low) + 1))
    return cpus
