"""A client of the Docker engine that leaves no socket open when the engine does not answer.

docker-py 7 leaves two kinds of sockets to the garbage collector: one that could not connect, and those of a
client whose constructor failed (it asks the engine for its version).
"""

from __future__ import annotations

import socket
from typing import Any

import docker
import docker.constants
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


def open_client(url: str, timeout_s: float, version: str | None = None, tls: Any = False) -> Any:
    """Return a docker.DockerClient of the engine at `url`.

    Without `version` it speaks the one that the engine tells.

    Raises what docker-py raises: docker.errors.DockerException, requests' exceptions, ValueError, KeyError,
    TypeError.
    """
    if version is not None:
        return _client(url, timeout_s, version, tls)
    asks = _client(url, timeout_s, docker.constants.MINIMUM_DOCKER_API_VERSION, tls)
    try:
        told = asks.api.version(api_version=False)["ApiVersion"]
    finally:
        asks.close()
    return _client(url, timeout_s, told, tls)


def _client(url: str, timeout_s: float, version: str, tls: Any) -> Any:
    client = docker.DockerClient(base_url=url, version=version, timeout=timeout_s, tls=tls)
    if url.startswith("unix://"):
        api = client.api
        api._custom_adapter.close()
        api._custom_adapter = _Adapter(f"http+{url}", timeout_s)
        api.mount("http+docker://", api._custom_adapter)
    return client


class _Connection(UnixHTTPConnection):  # type: ignore[misc]
    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.settimeout(self.timeout)
            opened.connect(self.unix_socket)
        except BaseException:
            opened.close()
            raise
        self.sock = opened


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]
    def _new_conn(self) -> _Connection:
        return _Connection(self.base_url, self.socket_path, self.timeout)


class _Adapter(UnixHTTPAdapter):  # type: ignore[misc]
    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _Pool(url, self.socket_path, self.timeout, self.max_pool_size)
            return pool
