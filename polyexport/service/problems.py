"""What a client is told when something is wrong: ``application/problem+json`` (RFC 9457)."""

from typing import Any

__all__ = ["PROBLEM_SCHEMA", "RESPONSES", "ProblemError"]

_TITLES = {
    "malformed": (400, "The request cannot be read"),
    "too_slow": (408, "The body did not arrive in time"),
    "too_large": (413, "The body is too large"),
    "unsupported": (415, "The body is of another type"),
    "field": (422, "A field is missing, unknown or wrong"),
    "image": (422, "The image cannot be used"),
    "color": (422, "The color cannot be used"),
    "network": (422, "The network failed on this image"),
    "busy": (503, "Too many requests are waiting"),
    "not_ready": (503, "The service is not ready"),
    "stopping": (503, "The service ends"),
    "late": (504, "The request waited too long"),
    "internal": (500, "The service failed"),
}


class ProblemError(Exception):
    """One thing that is wrong with a request."""

    def __init__(self, code: str, detail: str) -> None:
        """Describe it.

        Args:
            code: one of the stable words that programs may compare.
            detail: what was got, and what was expected.
        """
        super().__init__(detail)
        self.code = code
        self.status, self.title = _TITLES[code]
        self.detail = detail

    @property
    def headers(self) -> dict[str, str]:
        """That go with the answer."""
        return {"Retry-After": "1"} if self.status == 503 else {}

    def body(self) -> dict[str, Any]:
        """The JSON object."""
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

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "; ".join(title for other, title in _TITLES.values() if other == status),
        "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
    }
    for status in sorted({status for status, _ in _TITLES.values()})
}
"""For the OpenAPI description."""
