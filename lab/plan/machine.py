"""What figures depend on and a kernel's version does not tell: its settings, and which machine it is."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import platform
from pathlib import Path

ROOT = Path("/")
NO_GOVERNOR = "none"  # the hypervisor or the firmware sets the clock rate: there is no cpufreq


def facts(root: Path = ROOT) -> dict[str, str | None]:
    """Return the fields of Host that are read here; None for what cannot be read."""
    cpus = root / "sys/devices/system/cpu"
    return {
        "boot_id": _text(root / "proc/sys/kernel/random/boot_id"),
        "machine_id": _hashed(_text(root / "etc/machine-id")),
        "governor": _governors(cpus),
        "smt": _smt(_text(cpus / "smt/active")),
        "clock_source": _text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "transparent_hugepages": _chosen(_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "interrupt_time": interrupt_time(_config(root)),
    }


def interrupt_time(config: str | None) -> str | None:
    """How the kernel accounts the time of interrupts, by its configuration.

    `measured`: at each interrupt, apart from tasks. `sampled`: by the tick, and within the interrupted task.
    """
    if config is None:
        return None
    exact = ("CONFIG_IRQ_TIME_ACCOUNTING=y", "CONFIG_VIRT_CPU_ACCOUNTING_NATIVE=y")
    return "measured" if any(line in exact for line in config.splitlines()) else "sampled"


def _config(root: Path) -> str | None:
    """Return the kernel's configuration: its own copy, or the distribution's (proc(5), /proc/config.gz)."""
    try:
        return gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    except OSError:
        return _text(root / f"boot/config-{platform.release()}")


def _hashed(machine_id: str | None) -> str | None:
    """Return a digest that tells machines apart and does not tell the id, as machine-id(5) asks."""
    if not machine_id:
        return None
    return hmac.new(machine_id.encode(), b"io-model-lab", hashlib.sha256).hexdigest()[:16]


def _governors(cpus: Path) -> str | None:
    found = {_text(file) for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    if not found:
        return NO_GOVERNOR if cpus.is_dir() else None
    return ", ".join(sorted(name for name in found if name)) or None


def _smt(active: str | None) -> str | None:
    return {"1": "on", "0": "off"}.get(active or "")


def _chosen(text: str | None) -> str | None:
    """Return the word in brackets: `always [madvise] never` → `madvise`."""
    return next((word.strip("[]") for word in (text or "").split() if word.startswith("[")), None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None
