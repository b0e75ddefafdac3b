"""Services for tests of the load test: each answers raw bytes, as a hostile or a broken one would."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from polyexport.imaging.codecs.png import encode_png

INFO: dict[str, Any] = {
    "model": "tiny.onnx",
    "sha256": "ab" * 32,
    "execution_provider": "CPUExecutionProvider",
    "contract": {"contract_version": 2, "palette": [], "precision": "fp32", "training_size": 16},
}
"""Answer of ``/info``, as far as the load test reads it."""


def answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Bytes of an answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def picture() -> bytes:
    """A PNG file of one pixel."""
    return encode_png(np.zeros((1, 1, 3), np.uint8))


Respond = Callable[[bytes, int], bytes | None]
"""Function from a request and its number to the bytes of the answer; None closes the connection instead."""


class Stub:
    """A service on a free port, with a thread for each connection."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            stream = client.makefile("rb")
            while head := stream.readline():
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                self.requests.append(head + stream.read(length))
                told = self._respond(self.requests[-1], len(self.requests) - 1)
                if told is None:
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(told)

    def close(self) -> None:
        """Take no connections any more, and close those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def stub(respond: Respond) -> Iterator[Stub]:
    """A service that is closed at the end of the block."""
    running = Stub(respond)
    try:
        yield running
    finally:
        running.close()


def service(infer: Respond, *, info: dict[str, Any] | None = None) -> contextlib.AbstractContextManager[Stub]:
    """A service that describes itself well, and answers images as a function says."""

    def respond(request: bytes, number: int) -> bytes | None:
        if request.startswith(b"GET /info "):
            return answer(json.dumps(INFO if info is None else info).encode())
        return infer(request, number)

    return stub(respond)


def after(seconds: float) -> Respond:
    """Answer with a picture after some time."""

    def infer(request: bytes, number: int) -> bytes:
        time.sleep(seconds)
        return answer(picture())

    return infer
