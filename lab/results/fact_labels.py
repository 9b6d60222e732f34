"""What each recorded fact of a run is called: one table for everything that a person reads.

A fact has a dotted name, as its path in manifest.json: `environment.host.cpu_model`.
"""

from __future__ import annotations

ENVIRONMENT = {
    "lab": "lab",
    "revision": "git revision of the lab",
    "python": "Python",
    "runtime": "runtime",
    "host.kernel": "kernel",
    "host.machine": "architecture",
    "host.cpu_model": "CPU",
    "host.cpus": "CPUs",
    "host.memory_bytes": "memory",
    "host.memory_available_bytes": "available memory",
    "host.nofile_hard": "hard limit of open files",
    "host.pid_max": "highest process ID",
    "host.threads_max": "most threads",
    "host.max_map_count": "most memory mappings of a process",
    "host.somaxconn": "longest accept queue",
    "host.conntrack_max": "most tracked connections",
    "host.cgroup": "cgroup",
    "host.congestion_control": "congestion control",
    "host.swap_used_bytes": "swap in use",
    "host.boot_id": "boot",
    "host.machine_id": "digest of the machine ID",
    "host.governor": "CPU frequency governor",
    "host.smt": "SMT",
    "host.clock_source": "clock source",
    "host.transparent_hugepages": "transparent huge pages",
    "host.interrupt_time": "time of interrupts",
    "overhead.cpu": "CPU time of the lab itself",
    "overhead.cpu_cores": "CPUs that the lab itself kept busy",
    "placement.server": "server on CPU",
    "placement.swarm": "swarm on CPU",
    "placement.overlap": "server and swarm share CPUs",
    "engine.version": "engine",
    "engine.api_version": "API of the engine",
    "engine.kernel": "kernel of the engine",
    "engine.system": "system of the engine",
    "engine.machine": "architecture of the engine",
    "engine.cgroup_version": "cgroup of the engine",
    "engine.cgroup_driver": "cgroup driver of the engine",
    "engine.storage_driver": "storage driver of the engine",
    "engine.default_runtime": "default runtime of the engine",
    "engine.security": "security options of the engine",
    "engine.cpus": "number of CPUs of the engine",
    "engine.memory_bytes": "memory of the engine",
    "engine.containers_running": "running containers of the engine",
}
_LIMITS = {
    f"limits.{node}.{limit}": f"{words} of {'each worker' if node == 'worker' else 'the server'}"
    for node in ("server", "worker")
    for limit, words in (
        ("cpus", "CPU limit"),
        ("memory_bytes", "memory limit"),
        ("pids", "limit of processes and threads"),
        ("nofile", "limit of open files"),
    )
}
LABELS = {
    **ENVIRONMENT,
    **_LIMITS,
    "seed": "seed",
    "argv": "command line",
    "plan": "plan",
    "scenario": "scenario",
    "scenario_sha256": "SHA-256 of the scenario file",
    "host": "host",
    "placement": "CPU placement",
    "images": "images",
    "environment": "environment",
}
# Facts whose last part is a name of somebody else's, or a key that the reader wrote.
_NAMED = {
    "engine.components.": "{} of the engine",
    "images.": "image of the {}",
    "limits.server_sysctls.": "{} of the server",
    "limits.worker_sysctls.": "{} of each worker",
    "load.": "{} of the scenario",
}


def label(fact: str) -> str:
    """Return what people read for a dotted name; one that an older lab recorded becomes plain words."""
    short = fact.removeprefix("environment.")
    if short in LABELS:
        return LABELS[short]
    for prefix, words in _NAMED.items():
        if short.startswith(prefix):
            return words.format(short.removeprefix(prefix))
    return short.replace("_", " ").replace(".", " ")
