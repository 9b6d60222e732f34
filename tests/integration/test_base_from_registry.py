"""The base image from a registry where one answers: a small one on the loopback that has our own Debian."""

from __future__ import annotations

import hashlib
import http.server
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.engine import images
from lab.engine.api import Engine
from lab.engine.build import base
from tests.support.runtimes import docker_client

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # it saves, pulls and runs apt-get

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class Registry(http.server.ThreadingHTTPServer):
    """The reading half of the registry's API: one manifest and the blobs that it names."""

    def __init__(self, manifest: bytes, blobs: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.manifest, self.blobs = manifest, blobs
        self.asked: list[str] = []


class Answer(http.server.BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.server.asked.append(self.path)
        kind, content = "application/json", b"{}"
        if "/manifests/" in self.path:
            kind, content = MANIFEST, self.server.manifest
        elif "/blobs/" in self.path:
            kind, content = (
                "application/octet-stream",
                self.server.blobs[self.path.rpartition("/")[2]].read_bytes(),
            )
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if kind == MANIFEST:
            self.send_header("Docker-Content-Digest", digest(content))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with docker_client() as one:
        yield one


@pytest.fixture
def registry(client: Any, tmp_path: Path) -> Iterator[Registry]:
    """A registry that has the lab's own base image; the engine trusts any on the loopback."""
    tags = images.build(client, ["nettools"], print)
    layers = client.images.get(tags["nettools"]).history()
    source = next(layer["Tags"][0] for layer in layers if layer["Tags"] and "/base:" in layer["Tags"][0])
    with (tmp_path / "saved.tar").open("wb") as file:
        file.writelines(client.images.get(source).save())
    with tarfile.open(tmp_path / "saved.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    (saved,) = json.loads((tmp_path / "manifest.json").read_text())
    files = {
        digest((tmp_path / name).read_bytes()): tmp_path / name
        for name in [saved["Config"], *saved["Layers"]]
    }
    entries = [
        {"mediaType": LAYER if number else CONFIG, "digest": name, "size": file.stat().st_size}
        for number, (name, file) in enumerate(files.items())
    ]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": entries[0], "layers": entries[1:]}
    server = Registry(json.dumps(manifest).encode(), files)
    threading.Thread(target=server.serve_forever, name="registry", daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_base_is_made_on_what_the_registry_has(
    client: Any, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = f"127.0.0.1:{registry.server_port}/debian:bookworm-slim"
    monkeypatch.setenv("LAB_BASE_IMAGE", image)
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    for name in ("packages.txt", "Dockerfile.registry"):
        (recipe / name).write_text((images.ROOT / "images/base" / name).read_text())
    said: list[str] = []
    tag = f"io-model-lab/base:test-{registry.server_port}"
    try:
        base.make(Engine(client.api), recipe, tag, tmp_path, said.append)
        made = client.images.get(tag)
        assert made.labels["lab.image"] == "base"
        assert said[0] == f"base image: from {image} …"
        assert any("/manifests/bookworm-slim" in path for path in registry.asked)
        assert any("/blobs/" in path for path in registry.asked)
        shown = client.containers.run(tag, ["python", "--version"], remove=True, network_mode="none")
        assert shown.startswith(b"Python 3.11")
    finally:
        for one in (tag, image):
            if client.images.list(one):
                client.images.remove(one, force=True)
