"""Output formats over HTTP: content types, and how answers that come in pieces are put together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server import blocks

_CONTENT_TYPES: Final = {
    "JSON": "application/json; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "XML": "application/xml; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Pretty": "text/plain; charset=UTF-8",
}
_PLAIN: Final = frozenset(
    (
        "TabSeparated",
        "TSV",
        "TabSeparatedRaw",
        "TSVRaw",
        "Raw",
        "CSV",
        "TSKV",
        "JSONEachRow",
        "JSONLines",
        "NDJSON",
        "JSONStringsEachRow",
        "LineAsString",
        "JSONCompactEachRow",
        "JSONCompactStringsEachRow",
        "RowBinary",
        "Native",
    )
)
_HEADER_LINES: Final = {
    **dict.fromkeys(("TabSeparatedWithNames", "TSVWithNames", "TabSeparatedRawWithNames", "TSVRawWithNames"), 1),
    **dict.fromkeys(("CSVWithNames", "JSONCompactEachRowWithNames", "JSONCompactStringsEachRowWithNames"), 1),
    **dict.fromkeys(("TabSeparatedWithNamesAndTypes", "TSVWithNamesAndTypes", "CSVWithNamesAndTypes"), 2),
    **dict.fromkeys(("JSONCompactEachRowWithNamesAndTypes", "JSONCompactStringsEachRowWithNamesAndTypes"), 2),
}


def content_type(name: str) -> str:
    """The content type of a format."""
    if name in _CONTENT_TYPES:
        return _CONTENT_TYPES[name]
    if name.startswith("JSON") and "EachRow" not in name:
        return _CONTENT_TYPES["JSON"]
    if name.startswith("JSON"):
        return "application/x-ndjson; charset=UTF-8"
    if name.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    return "text/plain; charset=UTF-8"


def can_stream(name: str) -> bool:
    """Whether pieces of the format, each a whole document, can be joined into one document."""
    return name in _PLAIN or name in _HEADER_LINES


def join(name: str, pieces: Iterator[tuple[bytes, int]], revision: int) -> Iterator[bytes]:
    """The pieces as one document; ``revision`` is the protocol revision for format Native, 0 for none."""
    lines = _HEADER_LINES.get(name, 0)
    first = True
    for data, rows in pieces:
        if name == "Native" and revision:
            yield b"".join(blocks.write(block, revision) for block in blocks.read_all(data))
        elif first or not lines:
            yield data
        elif rows:
            yield data[header_end(data, lines, quoted=name.startswith("CSV")) :]
        first = False


def header_end(data: bytes, lines: int, *, quoted: bool) -> int:
    """The index behind the first ``lines`` lines; in ``quoted`` text a line end in quotes does not count."""
    end = 0
    for _ in range(lines):
        start = end
        while True:
            end = data.find(b"\n", end) + 1
            if not end:
                return len(data)
            if not quoted or not data.count(b'"', start, end) % 2:
                break
    return end
