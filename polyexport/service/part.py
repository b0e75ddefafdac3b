"""One of the processes of a service: it answers the connections that the first process has accepted."""

import json
import os
import signal
import socket

from polyexport.errors import PolyexportError
from polyexport.service.options import MAX_OPTIONS_BYTES, ServiceOptions
from polyexport.service.server import serve_connections

__all__ = ["answer_connections"]


def answer_connections(descriptor: int) -> None:
    """Load the model, and answer the connections that come through a channel, until a signal or the channel ends it.

    Args:
        descriptor: the channel's file descriptor. The first message has the options and the cores of this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the first one passes it on
    with socket.socket(fileno=descriptor) as channel:
        message = json.loads(channel.recv(MAX_OPTIONS_BYTES))
        os.sched_setaffinity(0, message["cores"])

        def ready(provider: str, reason: str) -> None:
            channel.sendall(json.dumps({"provider": provider, "reason": reason}).encode())

        try:
            serve_connections(ServiceOptions.of_entries(message["options"]), channel, on_ready=ready)
        except PolyexportError as error:
            answer = {"error": error.message, "remedy": error.remedy, "exit_code": int(error.exit_code)}
            channel.sendall(json.dumps(answer).encode())
