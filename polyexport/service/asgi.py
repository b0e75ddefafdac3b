"""Types of ASGI (https://asgi.readthedocs.io), and an answer without a framework."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from polyexport.service.problems import ProblemError

__all__ = ["App", "Message", "Receive", "Send", "send_problem"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


async def send_problem(problem: ProblemError, send: Send, *, close: bool = False) -> None:
    """Answer a request with a problem, and close its connection if nothing more is wanted from it."""
    body = json.dumps(problem.body()).encode()
    headers = {"content-type": "application/problem+json", "content-length": str(len(body)), **problem.headers}
    if close:
        headers["connection"] = "close"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
