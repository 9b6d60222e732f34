"""Peers of the servers' benchmark: what people write for asyncio and uvloop, no parser, no counts.

usage: _servers_plain.py asyncio|uvloop. Every read is taken for one whole request. The port is the first
line.
"""

from __future__ import annotations

import asyncio
import sys
from email.utils import formatdate
from typing import cast

ANSWER = (
    "HTTP/1.1 200 OK\r\nServer: plain\r\nDate: {}\r\nContent-Type: text/plain\r\n"
    "Content-Length: 13\r\n\r\nHello, World!"
)


class Plain(asyncio.Protocol):
    """Answers each read."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(self.answer)


async def serve() -> None:
    """Listen on any port, and renew the date once a second, for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Plain, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        Plain.answer = ANSWER.format(formatdate(usegmt=True)).encode()
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.run(serve())
    else:
        asyncio.run(serve())
