"""Split SQL files into statements and fill in their ``{{parameters}}``; knows no engine beyond its string syntax."""

import re
from collections.abc import Iterator, Mapping

_OPAQUE = r"""
    "(?:[^"]|"")*" | `[^`]*`            # quoted identifiers
  | --[^\n]* | /\*.*?\*/                # comments
  | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$     # dollar quoting, with or without a tag
  | (?P<end>;)
  | (?P<open>['"`]|/\*)                 # reached only when nothing closes it
"""
_ESCAPED_STRING = r"'(?:[^'\\]|\\.|'')*'"
_PLAIN_STRING = r"(?<![\w])[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'"
_TOKENS = {
    True: re.compile(f"{_ESCAPED_STRING} | {_OPAQUE}", re.VERBOSE | re.DOTALL),
    False: re.compile(f"{_PLAIN_STRING} | {_OPAQUE}", re.VERBOSE | re.DOTALL),
}
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_LEADING = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_UNSAFE_VALUE = re.compile(r"[;\\\n\r]|--|/\*")


class SqlTextError(ValueError):
    """A file cannot be split or filled in; the message says where and what to do."""


def split(text: str, *, backslash_escapes: bool) -> Iterator[tuple[int, str]]:
    """Yield ``(line, statement)`` of each statement, leading comments kept, the semicolon not.

    ``backslash_escapes`` says whether ``'\\''`` is one string (ClickHouse) or not (PostgreSQL).
    """
    start = 0
    for token in _TOKENS[backslash_escapes].finditer(text):
        if token["open"]:
            line = text.count("\n", 0, token.start()) + 1
            raise SqlTextError(f"line {line}: {token['open']} is opened and never closed; close it")
        if token["end"]:
            yield from _statement(text, start, token.start())
            start = token.end()
    yield from _statement(text, start, len(text))


def _statement(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    leading = _LEADING.match(text, start, end)
    body = leading.end() if leading else start
    if text[body:end].strip():
        yield text.count("\n", 0, body) + 1, text[start:end].strip()


def bare(statement: str) -> str:
    """Return the statement without its leading comments, as one line of single spaces.

    Comments inside are removed too, so the result is for reading and matching, never for execution.
    """
    return " ".join(_COMMENT.sub(" ", statement).split())


def first_line(statement: str) -> str:
    """Return the first line that is not a comment, for messages."""
    leading = _LEADING.match(statement)
    return statement[leading.end() if leading else 0 :].split("\n", 1)[0].strip()


def placeholders(text: str) -> list[str]:
    """Return the names of the parameters that the text uses, each once, in order."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def fill(text: str, parameters: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` by its value; raise for a missing name or a value that could end a statement."""
    for name in placeholders(text):
        if name not in parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise SqlTextError(
                f"parameter {{{{{name}}}}} is not known (known: {known}); give it a value or correct its name"
            )
        if _UNSAFE_VALUE.search(parameters[name]):
            raise SqlTextError(
                f"parameter {{{{{name}}}}} has the value {parameters[name]!r}: "
                "semicolons, backslashes, line ends and comment marks are refused; change the setting it comes from"
            )
    return _PLACEHOLDER.sub(lambda match: parameters[match[1]], text)
