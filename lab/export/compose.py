"""A Compose file from a scenario: the topology of the first trial, started by hand, without links. Pure.

It has the nodes, settings and locked-down containers of a run, but for a reference host: a scenario gives the
same file everywhere. Source: the Compose specification.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.common.paths import ROOT
from lab.export.link_words import link_words
from lab.plan import plan, render
from lab.plan.capacity import place, plan_capacity
from lab.plan.host import Host
from lab.plan.plan import Plan, Trial
from lab.plan.topology import Node, Topology
from lab.runtime import docker_spec
from lab.scenario.resolve import Resolved

# Two CPUs, and no limit that matters: each container gets what the scenario needs.
REFERENCE = Host(
    kernel="reference",
    machine="reference",
    cpu_model="reference",
    cpus=(0, 1),
    memory_bytes=1 << 40,
    memory_available_bytes=1 << 40,
    nofile_hard=1 << 20,
    pid_max=None,
    threads_max=None,
    max_map_count=None,
    somaxconn=None,
    conntrack_max=None,
    cgroup="v2",
    congestion_control=None,
    swap_used_bytes=0,
)
SECCOMP, SECCOMP_IO_URING = "seccomp.json", "seccomp.io_uring.json"
IMAGES_MISSING = "run: lab images --env > .env"
RENAMED = {"cpuset_cpus": "cpuset"}
ENGINE_ONLY = ("network_mode", "restart_policy", "log_config")
# A mapping of the Compose file: its keys are those of the Compose specification.
Section = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes maps in block style, lists in one line."""


def _in_one_line(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(list, _in_one_line)


def compose(resolved: Resolved, file_name: str) -> str:
    """Return the text of the Compose file `file_name`. Raises UsageError for a wrong sweep."""
    expanded = plan.expand(resolved)
    first = expanded.trials[0]
    services: Section = {}
    for trial in _at_the_same_point(expanded, first):
        topology = _topology(expanded, trial)
        server = _service(topology.node("server"), topology)
        if trial is not first:
            server["profiles"] = [service_name(trial)]
        services[service_name(trial)] = server
    topology = _topology(expanded, first)
    masters = {worker: group.master for group in first.scenario.swarm.all_groups for worker in group.workers}
    for node in topology.nodes:
        if node.role != "server":
            services[node.name] = _service(node, topology)
            if node.role == "worker":
                services[node.name]["depends_on"] = [masters[node.name]]
    networks = {network.name: {"internal": True} for network in topology.networks}
    data: Section = {"services": services, "networks": networks}
    if files := resolved.files():
        _mount(files, services, data)
    return _head(resolved, first, file_name) + yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=110)


def _mount(files: Mapping[str, Path], services: Section, data: Section) -> None:
    """Add the scenario's files as Compose configs; a run has them in a layer of the swarm's image."""
    names = {f"file-{number}": (name, path) for number, (name, path) in enumerate(files.items())}
    data["configs"] = {
        one: {"file": os.path.relpath(path, ROOT / "compose")} for one, (_, path) in names.items()
    }
    for name, service in services.items():
        if not name.startswith("server-"):
            folder = render.Addressing().files
            service["configs"] = [
                {"source": one, "target": f"{folder}/{inside}"} for one, (inside, _) in names.items()
            ]


def profile_files(resolved: Resolved) -> dict[str, str]:
    """Return the seccomp profile beside the Compose file, by file name."""
    io_uring = render.needs_io_uring(resolved.scenario)
    profile = json.loads(docker_spec.seccomp_profile(io_uring))
    return {SECCOMP_IO_URING if io_uring else SECCOMP: json.dumps(profile, indent=1) + "\n"}


def service_name(trial: Trial) -> str:
    """Return the name of a server's service; no node of the swarm can have it."""
    return f"server-{trial.server}"


def _at_the_same_point(expanded: Plan, first: Trial) -> list[Trial]:
    """Return the first trial, and the trials that differ from it by the server only."""
    block = [t for t in expanded.trials if t.repeat == first.repeat and t.point == first.point]
    order = list(expanded.scenario.servers)
    return [first, *sorted((t for t in block if t is not first), key=lambda t: order.index(t.server))]


def _topology(expanded: Plan, trial: Trial) -> Topology:
    capacity, placement = plan_capacity(expanded, REFERENCE), place(REFERENCE, trial.scenario)
    addressing = render.Addressing()
    # Compose sets no class and its containers have no budget: nothing is asked for.
    return render.render("compose", expanded, trial, capacity, placement, addressing, real_time=False)


def _service(node: Node, topology: Topology) -> Section:
    seccomp = SECCOMP_IO_URING if topology.io_uring else SECCOMP
    spec = docker_spec.container_config(
        node, docker_spec.Place("", _image(node), "", {}, seccomp), config := _host_config(node, seccomp)
    )
    service: Section = {"image": spec["image"]}
    if spec["command"]:
        service["command"] = spec["command"]
    return {
        **service,
        "hostname": node.name,
        "user": spec["user"],
        "environment": {name: text.replace("$", "$$") for name, text in spec["environment"].items()},
        "networks": {name: {"aliases": [node.name]} for name in node.networks},
        **config,
    }


def _host_config(node: Node, seccomp: str) -> Section:
    """Translate the arguments of docker-py's `create_host_config` into keys of the Compose specification."""
    given = docker_spec.host_config(node, docker_spec.Place("", "", "", {}, seccomp))
    config = {
        RENAMED.get(key, key): value for key, value in given.items() if key not in ENGINE_ONLY and value
    }
    config["security_opt"] = ["no-new-privileges:true", f"seccomp:{seccomp}"]
    config["tmpfs"] = [f"{path}:{options}" for path, options in given["tmpfs"].items()]
    if ulimits := config.get("ulimits"):
        config["ulimits"] = {one["Name"]: {"soft": one["Soft"], "hard": one["Hard"]} for one in ulimits}
    return {**config, "restart": "no"}


def _image(node: Node) -> str:
    """Return a variable of .env for the lab's images, whose tags follow their sources; else the image."""
    if node.image in ("server", "swarm"):
        return f"${{LAB_IMAGE_{node.image.upper()}:?{IMAGES_MISSING}}}"
    return node.image


def _head(resolved: Resolved, first: Trial, file_name: str) -> str:
    scenario = resolved.scenario
    project = file_name.removesuffix(".yaml")
    command = f"docker compose -p {project} -f {file_name}"
    links = "; ".join(link_words(resolved.data)) or "the scenario has none"
    groups = first.scenario.swarm.all_groups
    masters = " ".join(group.master for group in groups)
    swarm = " ".join(name for group in groups for name in (group.master, *group.workers))
    lines = [
        f"The topology of the first trial, to start by hand, on a plain network without links ({links}).",
        f"{scenario.name}: {scenario.question}" if scenario.question else scenario.name,
        f"Generated from the scenario by `lab compose`. First trial: {first.id}",
        "",
        "In this folder:",
        "  lab images --env > .env                     build the images and write their names",
        f"  {command} up",
        f"  {command} kill -s SIGUSR1 {masters}            start the load",
    ]
    if groups[0].name:
        lines[-1] = lines[-1].replace("start the load", "open the connections")
        lines += [f"  {command} kill -s SIGUSR2 {masters}            once all are open: start the load"]
    others = [name for name in scenario.servers if name != first.server]
    if others:
        lines += [f"  {command} up server-{others[0]} {swarm}     another server"]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def file_names(names: list[str]) -> Mapping[str, str]:
    """Return the file in compose/ of each scenario: one folder, so that all share .env and the profiles."""
    return {name: f"{name.replace('/', '-')}.yaml" for name in names}
