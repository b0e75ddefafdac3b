"""Errors that a client is told, as ``application/problem+json`` (RFC 9457)."""

from typing import Any

__all__ = ["COMMON_RESPONSES", "PROBLEM_SCHEMA", "RESPONSES", "ProblemError"]

_TITLES = {
    "malformed": (400, "The request cannot be read"),
    "cross_site": (403, "A page of another site sent the request"),
    "too_slow": (408, "The body did not arrive in time"),
    "too_large": (413, "The body is too large"),
    "unsupported": (415, "The body is of an unsupported type"),
    "host": (421, "The service does not answer to this host"),
    "field": (422, "A field is missing, unknown or wrong"),
    "image": (422, "The image cannot be used"),
    "color": (422, "The color cannot be used"),
    "network": (422, "The network failed on this image"),
    "busy": (503, "Too many requests are queued or running"),
    "not_ready": (503, "The service is not ready"),
    "stopping": (503, "The service is shutting down"),
    "late": (504, "The request waited too long"),
    "internal": (500, "The service failed"),
}


class ProblemError(Exception):
    """An error of a request, with the HTTP status that answers it."""

    def __init__(self, code: str, detail: str) -> None:
        """Describe the error.

        Args:
            code: a key of ``_TITLES``; codes are stable, so that programs may compare them.
            detail: what was received, and what was expected.
        """
        super().__init__(detail)
        self.code = code
        self.status, self.title = _TITLES[code]
        self.detail = detail

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {"Retry-After": "1"} if self.status == 503 else {}

    def body(self) -> dict[str, Any]:
        """Build the JSON object of the answer."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}


def _responses(statuses: set[int]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": "; ".join(title for other, title in _TITLES.values() if other == status),
            "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
        }
        for status in sorted(statuses)
    }


RESPONSES = _responses({status for status, _ in _TITLES.values()})
"""Responses of /infer to failed requests, for the OpenAPI description."""

COMMON_RESPONSES = _responses({400, 421, 422})
"""Responses of every route to requests that do not reach it."""
