"""As much SQL as a server must read itself: where an INSERT's data starts, a FORMAT clause, forbidden file access."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from server.errors import NOT_IMPLEMENTED, ServerError

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>'(?:[^'\\]|\\.|'')*')
      | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9][A-Za-z0-9_.]*)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_STREAMED: Final = frozenset(("SELECT", "WITH", "FROM", "("))
_WITH_COLUMNS: Final = _STREAMED | {"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK"}


@dataclass(frozen=True, kw_only=True)
class Token:
    """A word, sign or literal; ``upper`` is its text in capitals; ``depth`` counts brackets around it."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    @property
    def upper(self) -> str:
        """The text in capitals for words, else as it is."""
        return self.text.upper() if self.kind == "word" else self.text


@dataclass(frozen=True, kw_only=True)
class Insert:
    """An INSERT whose rows are data, not a SELECT."""

    head: str
    """The statement up to the table and the list of columns."""
    settings: str
    """What stands between that and VALUES or FORMAT: a SETTINGS clause."""
    table: str
    """The table's name or the table function, as written."""
    columns: tuple[str, ...] | None
    """The listed columns; None: all that can be inserted."""
    excluded: tuple[str, ...]
    """Columns of ``* EXCEPT``."""
    format: str | None
    """The data's format; None when the statement names none."""
    data_start: int
    """Index of the first character of data in the statement."""


def tokens(sql: str) -> Iterator[Token]:
    """The statement's tokens without blanks and comments, read as far as they are asked for."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "sign"
        if kind == "space":
            continue
        text = match.group()
        if text in (")", "]"):
            depth -= 1
        yield Token(kind=kind, text=text, start=match.start(), end=match.end(), depth=depth)
        if text in ("(", "["):
            depth += 1


def first_word(sql: str) -> str:
    """The first keyword in capitals, or the first sign, or an empty string."""
    return next((token.upper for token in tokens(sql)), "")


def can_stream(sql: str) -> bool:
    """Whether the engine may give the answer block by block."""
    return first_word(sql) in _STREAMED


def has_header(sql: str) -> bool:
    """Whether the statement answers with columns even when there is no row."""
    return first_word(sql) in _WITH_COLUMNS


def output_format(sql: str) -> tuple[str, str | None]:
    """The statement without its FORMAT clause, and the format's name."""
    top = [token for token in tokens(sql) if not token.depth and token.text != ";"]
    for index in range(len(top) - 1, 1, -1):
        last = index + 1 == len(top) or top[index + 1].upper == "SETTINGS"
        before, word, name = top[index - 2], top[index - 1], top[index]
        if last and word.upper == "FORMAT" and name.kind == "word" and before.text not in (",", ".", "="):
            return sql[: word.start] + sql[name.end :], name.text
    return sql, None


def refuse_files(sql: str) -> None:
    """Raises for INTO OUTFILE and FROM INFILE, which belong to the client, not to a server."""
    previous = ""
    for token in tokens(sql):
        if previous + token.upper in ("INTOOUTFILE", "FROMINFILE"):
            raise ServerError(NOT_IMPLEMENTED, f"{previous} {token.upper} is for clients, not for a server")
        previous = token.upper if token.kind == "word" else ""


def parse_insert(sql: str) -> Insert | None:
    """What an INSERT with data says; None for other statements and for INSERT ... SELECT."""
    items = list(_head(sql))
    if len(items) < 3 or items[0].upper != "INSERT" or items[1].upper != "INTO":
        return None
    index = 2 + (items[2].upper == "TABLE" and len(items) > 3 and items[3].kind != "sign")
    is_function = items[index].upper == "FUNCTION" and len(items) > index + 1 and items[index + 1].kind != "sign"
    index += is_function
    end = _table_end(items, index, is_function=is_function)
    last = items[-1]
    in_brackets = end + 1 < len(items) and items[end].text == "(" and items[end + 1].upper in ("SELECT", "WITH")
    if in_brackets or last.upper in ("SELECT", "WITH", "WATCH"):
        return None
    columns, excluded, after = _columns(items, end)
    table = sql[items[index].start : items[end - 1].end]
    keyword = last if last.upper == "VALUES" else items[-2] if items[-2].upper == "FORMAT" else None
    head_end = items[after - 1].end
    if keyword is None or items.index(keyword) < after:
        return Insert(head=sql[:head_end], settings=sql[head_end : last.end], table=table, columns=columns,
                      excluded=excluded, format=None, data_start=len(sql))  # fmt: skip
    return Insert(
        head=sql[:head_end],
        settings=sql[head_end : keyword.start],
        table=table,
        columns=columns,
        excluded=excluded,
        format="Values" if keyword is last else last.text,
        data_start=_data_start(sql, last.end),
    )


def _head(sql: str) -> Iterator[Token]:
    """Tokens of an INSERT up to the word behind which data or a SELECT starts."""
    previous = ""
    for position, token in enumerate(tokens(sql)):
        if token.text == ";" and not token.depth:
            return
        yield token
        at_top = not token.depth and position > 2
        if at_top and (token.upper in ("VALUES", "SELECT", "WITH", "WATCH") or previous == "FORMAT"):
            return
        previous = token.upper if at_top else ""


def _table_end(items: list[Token], index: int, *, is_function: bool) -> int:
    """The index behind ``name``, ``database.name`` or ``function(...)``."""
    end = index + 1
    while end + 1 < len(items) and items[end].text == ".":
        end += 2
    if is_function and end < len(items) and items[end].text == "(":
        end = _closing(items, end) + 1
    return end


def _closing(items: list[Token], opened: int) -> int:
    depth = items[opened].depth
    behind = range(opened + 1, len(items))
    return next((i for i in behind if items[i].text == ")" and items[i].depth == depth), len(items) - 1)


def _columns(items: list[Token], end: int) -> tuple[tuple[str, ...] | None, tuple[str, ...], int]:
    """The listed columns, the columns of EXCEPT, and the index behind the list."""
    if end >= len(items) or items[end].text != "(":
        return None, (), end
    closing = _closing(items, end)
    inner = items[end + 1 : closing]
    if inner and inner[0].text == "*":
        names = [unquote(token) for token in inner[1:] if token.kind != "sign" and token.upper != "EXCEPT"]
        return None, tuple(names), closing + 1
    names, current = [], ""
    for token in inner:
        if token.text == ",":
            names.append(current)
            current = ""
        else:
            current += unquote(token)
    return tuple(name for name in (*names, current) if name), (), closing + 1


def unquote(token: Token) -> str:
    """An identifier without its quotes."""
    if token.kind != "quoted":
        return token.text
    return re.sub(r"\\(.)", r"\1", token.text[1:-1].replace(token.text[0] * 2, token.text[0]))


def _data_start(sql: str, end: int) -> int:
    while end < len(sql) and sql[end] in " \t\r":
        end += 1
    return end + 1 if sql[end : end + 1] == "\n" else end


def literal(value: str) -> str:
    """``value`` as a string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """``name`` in back quotes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
