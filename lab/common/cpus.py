"""CPU lists as Linux writes them, in /sys and for cpusets."""

from __future__ import annotations

import re

MOST_CPUS = 1 << 16  # more than any kernel is built for (CONFIG_NR_CPUS)


def cpu_list(text: str) -> list[int]:
    """Return the CPUs of a list: `"0,2-3"` is [0, 2, 3]; an empty text is []. Raises ValueError.

    The format is that of cpuset(7), "List format".
    """
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        if not (match := re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)):
            raise ValueError(f"{text!r} is no list of CPUs such as 0,2-3")
        low, high = int(match[1]), int(match[2] or match[1])
        if not low <= high < MOST_CPUS:
            raise ValueError(f"{text!r} is no list of CPUs: {part} is no range of them")
        cpus.extend(range(low, high + 1))
    return cpus
