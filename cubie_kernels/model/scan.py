"""Text of a model to tokens and statements, with every character accounted for.

Only the tokens named here pass, in an order that makes sense; all the rest of Python stops here
with a message, before Python's own parser sees the text.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from cubie_kernels.errors import EquationError

__all__ = ["Statement", "Text", "Token", "split"]

MOST_CHARACTERS = 2_000_000
MOST_TOKENS = 5_000
MOST_NESTED = 60
MOST_DIGITS = 60
MOST_LETTERS = 100
_SHOWN = 160  # characters of a line in a message

_TOKEN = re.compile(
    r"(?P<space>[ \t]+)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<op>\*\*|//|<=|>=|==|!=|[-+*/<>=(),])"
)
_BINARY = frozenset(["+", "-", "*", "/", "**", "<", "<=", ">", ">=", "==", "!=", ","])
_JOINING = frozenset({"and", "or", "if", "else"})
_WORDS = _JOINING | {"not", "True", "False"}
_REMEDY = {
    "^": "A power is written with '**': x**2.",
    "%": "The remainder of x / y is fmod(x, y).",
    "&": "Two conditions are joined with 'and'.",
    "|": "Two conditions are joined with 'or'.",
    "~": "The opposite of a condition is 'not'.",
    "!": "The opposite of a condition is 'not'; 'differs from' is '!='.",
    "[": "There is no indexing: give each state a name of its own, such as x1, x2.",
    "]": "There is no indexing: give each state a name of its own, such as x1, x2.",
    "{": "Use round parentheses.",
    "}": "Use round parentheses.",
    "'": "There are no texts; a derivative is written dx, dx/dt or d(x)/dt.",
    '"': "There are no texts in equations.",
    ":": "There are no colons in equations.",
    ";": "Write one equation a line.",
    "\\": "To go on in the next line, put the expression in parentheses.",
    ".": "A dot belongs in a number only: 0.5.",
    "@": "A product is written '*'.",
    "?": "A choice is written Piecewise((a, condition), (b, True)).",
    "\N{MULTIPLICATION SIGN}": "A product is written '*'.",
    "\N{MIDDLE DOT}": "A product is written '*'.",
    "\N{DOT OPERATOR}": "A product is written '*'.",
    "\N{DIVISION SIGN}": "A quotient is written '/'.",
    "\N{MINUS SIGN}": "A difference is written '-'.",
    "\N{EN DASH}": "A difference is written '-'.",
    "\N{SUPERSCRIPT TWO}": "A power is written with '**': x**2.",
    "\N{SUPERSCRIPT THREE}": "A power is written with '**': x**3.",
    "\N{LESS-THAN OR EQUAL TO}": "Write '<='.",
    "\N{GREATER-THAN OR EQUAL TO}": "Write '>='.",
}


class Token(NamedTuple):
    """A number, a name or an operator, and where it stands (line from 1, column from 0)."""

    kind: str
    text: str
    line: int
    column: int


@dataclass(frozen=True)
class Text:
    """The lines of a model, to point at a place in them."""

    lines: tuple[str, ...]

    def fail(self, message: str, line: int, column: int, width: int = 1) -> NoReturn:
        """Raise an ``EquationError`` with the line and a caret."""
        shown = re.sub(r"\s", " ", self.lines[line - 1]).rstrip()
        end = max(_SHOWN, column + 20)
        width = max(1, min(width, len(shown) - column, end - column))
        shown = shown if len(shown) <= end else shown[:end] + " ..."
        raise EquationError(
            message,
            text=shown,
            line=line,
            column=column,
            width=width,
        )

    def fail_at(self, message: str, token: Token) -> NoReturn:
        """Raise an ``EquationError`` that points at a token."""
        self.fail(message, token.line, token.column, len(token.text))


@dataclass(frozen=True)
class Statement:
    """One ``left = right``, in tokens; ``equals`` stands between them."""

    left: tuple[Token, ...]
    equals: Token
    right: tuple[Token, ...]


def split(text: Text) -> list[Statement]:
    """Return the statements of a model.

    Raises
    ------
    EquationError
        For characters, numbers or orders of tokens that mean nothing here, unbalanced parentheses,
        a missing or a second ``=``, or a text beyond the limits.
    """
    if sum(map(len, text.lines)) + len(text.lines) > MOST_CHARACTERS:
        raise EquationError(f"The model is longer than {MOST_CHARACTERS:,} characters.")
    statements: list[Statement] = []
    tokens: list[Token] = []
    opened: list[Token] = []
    for number in range(1, len(text.lines) + 1):
        for token in _scan(text, number):
            tokens.append(token)
            if token.text == "(":
                opened.append(token)
                if len(opened) > MOST_NESTED:
                    text.fail_at(
                        f"More than {MOST_NESTED} parentheses inside each other: define parts of "
                        "the expression on lines of their own.",
                        token,
                    )
            elif token.text == ")":
                if not opened:
                    text.fail_at("This ')' closes nothing: remove it or add a '('.", token)
                opened.pop()
            elif token.text == "=" and opened and opened[-1].line < number:
                text.fail_at("This '(' is never closed.", opened[-1])
            if len(tokens) > MOST_TOKENS:
                text.fail_at(
                    f"An equation of more than {MOST_TOKENS:,} words and signs: define parts of it "
                    "on lines of their own.",
                    tokens[0],
                )
        if tokens and not opened:
            statements.append(_statement(text, tokens))
            tokens = []
    if opened:
        text.fail_at("This '(' is never closed.", opened[-1])
    return statements


def _scan(text: Text, number: int) -> Iterator[Token]:
    """Yield the tokens of one line."""
    line = text.lines[number - 1].partition("#")[0].rstrip()
    at = 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None:
            text.fail(_unknown(line[at]), number, at)
        kind = str(match.lastgroup)
        token = Token(kind, match.group(), number, at)
        at = match.end()
        if kind == "number":
            _check_number(text, token, line[at : at + 1])
        elif kind == "name":
            _check_name(text, token)
        elif token.text == "//":
            text.fail_at("Whole-number division is written floor(x/y).", token)
        if kind != "space":
            yield token


def _unknown(character: str) -> str:
    remedy = _REMEDY.get(character)
    if remedy is None:
        spelled = unicodedata.name(character, "").rpartition(" ")[2].lower()
        if character.isalpha() and spelled.isascii() and spelled.isidentifier():
            remedy = f"Names use the letters a-z, A-Z, digits and '_': write {spelled!r}."
        else:
            remedy = "Names use the letters a-z, A-Z, digits and '_'."
    return f"The character {character!r} has no meaning here. {remedy}"


def _check_number(text: Text, token: Token, following: str) -> None:
    if following.isalnum() or following in ("_", "."):
        hint = f" A product is written {token.text}*{following}..." if following.isalpha() else ""
        text.fail_at(f"{token.text + following!r} is neither a number nor a name.{hint}", token)
    if re.fullmatch("0+[1-9][0-9]*", token.text):
        text.fail_at(f"A number has no leading zeros: {token.text.lstrip('0')}.", token)
    if len(token.text) > MOST_DIGITS or float(token.text) == float("inf"):
        text.fail_at(
            f"This number is too large: at most 1.797e308, in at most {MOST_DIGITS} characters.",
            token,
        )


def _check_name(text: Text, token: Token) -> None:
    if keyword.iskeyword(token.text) and token.text not in _WORDS:
        text.fail_at(
            f"{token.text!r} is a word of Python and has no meaning in equations; as a name it "
            f"could be {token.text + '_'!r}.",
            token,
        )
    if len(token.text) > MOST_LETTERS:
        text.fail_at(f"A name of more than {MOST_LETTERS} characters.", token)


def _statement(text: Text, tokens: list[Token]) -> Statement:
    """Cut a statement at its ``=`` and check the order of the tokens on the right."""
    at = next((i for i, token in enumerate(tokens) if token.text == "="), None)
    if at is None:
        double = next((token for token in tokens if token.text == "=="), None)
        if double is not None:
            text.fail_at("'==' compares; a definition is written with one '='.", double)
        text.fail_at("Not an equation: 'name = expression' or 'dx/dt = expression'.", tokens[0])
    left, equals, right = tuple(tokens[:at]), tokens[at], tuple(tokens[at + 1 :])
    if not left:
        text.fail_at("Nothing stands to the left of '='.", equals)
    for i, token in enumerate(right):
        if token.text == "=":
            if i == 0:
                text.fail_at("A definition is written with one '=': '= =' has no meaning.", token)
            beside = {right[i - 1].text, right[i + 1].text if i + 1 < len(right) else ""}
            meant = "<=" if "<" in beside else ">=" if ">" in beside else None
            text.fail_at(
                f"This comparison is written {meant!r}."
                if meant
                else "A second '='. A comparison is written '=='; one definition a line.",
                token,
            )
    _check_order(text, equals, right)
    _check_choices(text, right)
    return Statement(left, equals, right)


def _check_order(text: Text, equals: Token, tokens: tuple[Token, ...]) -> None:
    """Check that values and operators take turns."""
    before, value = equals, False  # value: the last token ended a value
    for token in tokens:
        opens, closes = token.text == "(", token.text == ")"
        operand = token.kind == "number" or (token.kind == "name" and token.text not in _JOINING)
        if value:
            if opens and before.kind != "name":
                text.fail_at(
                    f"An operator is missing after {before.text!r}: '*' to multiply.", token
                )
            if operand:
                text.fail_at(
                    f"An operator is missing between {before.text!r} and {token.text!r}.", token
                )
            value = closes
        elif closes:
            if before.text not in ("(", ","):
                _expected(text, before)
            value = True
        elif token.text in _BINARY or token.text in _JOINING:
            if token.text not in ("+", "-"):
                _expected(text, before, token)
        else:
            value = operand and token.text != "not"
        before = token
    if not value:
        _expected(text, before)


def _check_choices(text: Text, tokens: tuple[Token, ...]) -> None:
    """Check that every ``if`` has its ``else`` inside the same parentheses."""
    waiting: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == "(":
            waiting.append([])
        elif token.text == "if":
            waiting[-1].append(token)
        elif token.text == "else":
            if not waiting[-1]:
                text.fail_at("An 'else' without 'if': a if condition else b.", token)
            waiting[-1].pop()
        elif token.text in (")", ","):
            if waiting[-1]:
                text.fail_at("This 'if' has no 'else': a if condition else b.", waiting[-1][-1])
            if token.text == ")":
                waiting.pop()
    if waiting[0]:
        text.fail_at("This 'if' has no 'else': a if condition else b.", waiting[0][-1])


def _expected(text: Text, before: Token, token: Token | None = None) -> NoReturn:
    found = f", not {token.text!r}" if token else ""
    more = "" if token else " To go on in the next line, put the expression in parentheses."
    text.fail_at(f"A value is expected after {before.text!r}{found}.{more}", token or before)
