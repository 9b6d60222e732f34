"""The lab's images on a real engine: built once, found again, and fit to run what they hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.engine import images
from lab.engine.build.builder import LABEL
from lab.plan.topology import DATA, Network, Node, Topology
from lab.runtime.docker import DockerRuntime
from tests.support.runtimes import docker_client, run_id

pytestmark = pytest.mark.docker

IDLE = ("python", "-c", "import time; time.sleep(600)")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with docker_client() as one:
        yield one


@pytest.fixture(scope="module")
def tags(client: Any) -> dict[str, str]:
    return images.build(client, images.IMAGES, print)


def test_a_second_build_does_nothing(client: Any, tags: dict[str, str]) -> None:
    said: list[str] = []
    assert images.build(client, images.IMAGES, said.append) == tags
    assert said == []


@pytest.mark.alone
def test_a_second_build_takes_less_than_two_seconds(client: Any, tags: dict[str, str]) -> None:
    began_s = time.monotonic()
    assert images.build(client, images.IMAGES, print) == tags
    assert time.monotonic() - began_s < 2


def test_images_carry_their_label_and_stay_small(client: Any, tags: dict[str, str]) -> None:
    for name, tag in tags.items():
        image = client.images.get(tag)
        assert image.labels[LABEL] == name
        assert image.attrs["Size"] < 250_000_000


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("server", "import iomodels, wire.http1, uvloop"),
        ("swarm", "import swarm, wire.http1, locust, gevent, hdrh.histogram"),
        ("nettools", "import nettools"),
    ],
)
def test_an_image_imports_what_it_needs_from_compiled_files(
    client: Any, tags: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, code: str
) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    # In a read-only container nothing can be compiled: a module without its .pyc is compiled at each start.
    ask = f"{code}\nimport sys; print([m.__name__ for m in list(sys.modules.values()) if uncompiled(m)])"
    has = "import os\ndef uncompiled(m):\n    c = getattr(m, '__cached__', None)\n"
    has += "    return bool(c) and m.__name__ != '__main__' and not os.path.exists(c)\n"
    node = Node("one", "server", image, argv=IDLE, networks=(DATA,))
    topology = Topology(run_id(), "trial-1", (node,), (Network(DATA),))
    with DockerRuntime(client, tags).up(topology, tmp_path / "logs") as deployment:
        result = deployment.exec("one", ["python", "-W", "ignore", "-c", has + ask], 30)
    assert (result.code, result.out) == (0, "[]\n"), result.err


def test_a_changed_source_makes_a_new_image_on_the_same_base(
    client: Any, tags: dict[str, str], tmp_path: Path
) -> None:
    for part in ("images/base", "images/kernel", "images/nettools"):
        for file in (images.ROOT / part).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                copy = tmp_path / file.relative_to(images.ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    (tmp_path / "images/nettools/extra.py").write_text("EXTRA = 1\n")
    said: list[str] = []
    built = images.build(client, ["nettools"], said.append, root=tmp_path)
    try:
        assert built["nettools"] != tags["nettools"]
        assert said[0] == "image nettools …"  # the base is there: nothing else was built
        assert len(said) == 2
        layers = [
            client.images.get(tag).attrs["RootFS"]["Layers"] for tag in (built["nettools"], tags["nettools"])
        ]
        assert layers[0][0] == layers[1][0]
    finally:
        client.images.remove(built["nettools"])
