"""One exception type for what clients see, with ClickHouse's codes, and how the engine's messages become it."""

from __future__ import annotations

import re
from typing import Final

NOT_IMPLEMENTED: Final = 48
NO_SUCH_COLUMN: Final = 16
BAD_ARGUMENTS: Final = 36
SYNTAX_ERROR: Final = 62
UNKNOWN_PACKET: Final = 99
UNKNOWN_SETTING: Final = 115
READONLY: Final = 164
TOO_MANY_QUERIES: Final = 202
CANCELLED: Final = 394
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516
UNKNOWN_TYPE: Final = 50
CANNOT_DECOMPRESS: Final = 271
SESSION_IS_LOCKED: Final = 373
SHUTTING_DOWN: Final = 745

_NAMES: Final = {
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    NO_SUCH_COLUMN: "NO_SUCH_COLUMN_IN_TABLE",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_PACKET: "UNKNOWN_PACKET_FROM_CLIENT",
    READONLY: "READONLY",
    TOO_MANY_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    CANCELLED: "QUERY_WAS_CANCELLED",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_TYPE: "UNKNOWN_TYPE",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    SHUTTING_DOWN: "SERVER_OVERLOADED",
}

# Codes whose HTTP status is neither 400 (bad input) nor 500, as the server answers them.
_HTTP_STATUS: Final = {
    **dict.fromkeys((192, 193, 194, 291, 495, 496, 497, 516, 519), 403),
    **dict.fromkeys((60, 81, 46, 47, 50, 56, 73, 114, 115, 63), 404),
    **dict.fromkeys((48,), 501),
    **dict.fromkeys((202, 209, 210, 439, 745), 503),
    **dict.fromkeys((159,), 408),
    READONLY: 403,
}
_BAD_REQUEST: Final = frozenset(
    (6, 16, 26, 27, 36, 38, 41, 43, 44, 53, 62, 70, 72, 117, 130, 131, 373, 456, 457, 472, 27, 33, 69, 85, 42)
)

_MESSAGE: Final = re.compile(r"\ACode: (\d+)\. DB::Exception: (.*)\Z", re.DOTALL)
_NAME: Final = re.compile(r" \(([A-Z][A-Z0-9_]+)\)\s*\Z")
_VERSION: Final = re.compile(r" \(version [^()]*(?:\([^()]*\))?\)\s*\Z")


class ServerError(Exception):
    """An error for the client: a ClickHouse code, its name and a message without code, name or version."""

    def __init__(self, code: int, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.name = name or _NAMES.get(code, "UNKNOWN_EXCEPTION")

    def text(self, version: str) -> str:
        """The line that ClickHouse writes for this error; ``version`` is the engine's."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version})"

    @property
    def http_status(self) -> int:
        """The status of the HTTP answer."""
        return _HTTP_STATUS.get(self.code, 400 if self.code in _BAD_REQUEST else 500)


def from_engine(text: str, user: str) -> ServerError:
    """The error behind an engine message; ``user`` replaces the engine's only user in "not enough privileges"."""
    code, name, rest = 1001, "STD_EXCEPTION", text.strip()
    while match := _MESSAGE.match(rest):
        code, rest = int(match[1]), match[2].strip()
        rest = _VERSION.sub("", rest)
        if found := _NAME.search(rest):
            name, rest = found[1], rest[: found.start()]
        rest = _VERSION.sub("", rest)
    if code == ACCESS_DENIED and rest.startswith("default: "):
        rest = f"{user}: {rest.removeprefix('default: ')}"
    return ServerError(code, rest, name)
