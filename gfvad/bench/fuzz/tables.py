"""Mutations of tables and lists: CSV with a header, and lines of words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from gfvad.bench.fuzz.effect import EITHER, ERROR, SAME, Context, Effect, Mutation, effect
from gfvad.bench.fuzz.meant import meant

NUMBERS = ("-1", "-0.5", "0.5", "1e9", "99999", "nan", "inf", "1" * 30, "", "ten", "0x10")
NUMBERS += ("1_0", "３", "--1", "1,5")
Words = Callable[[list[str], Context], list[str]]  # the words of a row, changed
Lines = Callable[[list[str], int, Context], list[str]]  # all lines, the first with data


def _text(c: Context) -> str:
    return c.path.read_text(encoding="utf-8")


def _separator(row: str) -> str:
    return "," if "," in row else "@" if "@" in row and " " not in row.strip() else " "


def _rows(c: Context) -> tuple[list[str], int]:
    """(lines, index of the first row of data)."""
    lines = _text(c).splitlines()
    return lines, int(lines[0].split(",")[0] in ("name", "path"))


def _put(c: Context, lines: list[str]) -> None:
    c.path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def recoded(name: str, encode: Callable[[str], bytes], expect: str) -> Mutation:
    """The whole text, written otherwise."""

    def mutate(c: Context) -> Effect:
        before = c.path.read_bytes()
        c.path.write_bytes(encode(_text(c)))
        return effect(SAME if c.path.read_bytes() == before else expect, c)

    mutate.__name__ = name
    return mutate


def latin_1(c: Context) -> Effect:
    """A name that Latin-1 writes otherwise than UTF-8; where none is, one is put behind."""
    text = _text(c)
    text = text if not text.isascii() else text + "# café\n"
    c.path.write_bytes(text.encode("latin-1", "replace"))
    return effect(ERROR, c)


def of_row(name: str, change: Words, expect: str) -> Mutation:
    """A mutation of the words of one row."""

    def mutate(c: Context) -> Effect:
        lines, first = _rows(c)
        if first >= len(lines):
            return effect(SAME, c, "no rows")
        at, separator = c.rng.randrange(first, len(lines)), _separator(lines[0])
        row = lines[at]
        words = row.rsplit("@", 1) if separator == "@" else row.split(separator.strip() or None)
        changed = change(list(words), c)
        lines[at] = ("  " if separator == " " else separator).join(changed)
        _put(c, lines)
        note = f"line {at + 1}: {ascii(lines[at])[:80]}"
        return effect(SAME if changed == words else expect, c, note, words[0].removesuffix(".mp4"))

    mutate.__name__ = name
    return mutate


def _number(words: list[str], c: Context) -> list[str]:
    places = [i for i, w in enumerate(words) if i and w.lstrip("-").replace(".", "").isdigit()]
    if places:
        words[c.rng.choice(places)] = c.rng.choice(NUMBERS)
    return words


def _reversed(words: list[str], c: Context) -> list[str]:
    places = [i for i, w in enumerate(words) if i and w.isdigit()]
    if len(places) > 1:
        words[places[0]], words[places[1]] = words[places[1]], words[places[0]]
    return words


def _blank(words: list[str], c: Context) -> list[str]:
    words[c.rng.randrange(len(words))] = ""
    return words


def _renamed(change: Callable[[str], str]) -> Words:
    return lambda words, c: [change(words[0]), *words[1:]]


def of_lines(name: str, change: Lines, expect: str, *more: str) -> Mutation:
    """A mutation of the list of lines."""

    def mutate(c: Context) -> Effect:
        lines, first = _rows(c)
        changed = change(list(lines), first, c)
        _put(c, changed)
        lost = [line for line in lines if line not in changed and line.strip()]
        names = [line.split(_separator(lines[0]))[0].split()[0] for line in lost]
        names = [name.removesuffix(".mp4") for name in names]
        return effect(SAME if changed == lines else expect, c, "", *more, *names)

    mutate.__name__ = name
    return mutate


def _again(lines: list[str], first: int, c: Context) -> list[str]:
    return [*lines, c.rng.choice(lines[first:])] if len(lines) > first else lines


def _lost(lines: list[str], first: int, c: Context) -> list[str]:
    if len(lines) > first:
        del lines[c.rng.randrange(first, len(lines))]
    return lines


def _stranger(lines: list[str], first: int, c: Context) -> list[str]:
    row = c.rng.choice(lines[first:]) if len(lines) > first else lines[-1]
    return [*lines, "stranger_x999" + row[row.find(_separator(row)) :]]


def _contrary(lines: list[str], first: int, c: Context) -> list[str]:
    for line in lines[first:] if "label" in lines[0] else ():
        words = line.split(",")
        if len(words) > 1 and words[1] in ("0", "1"):
            return [*lines, ",".join([words[0], str(1 - int(words[1])), *words[2:]])]
    return [*lines, lines[-1]]


def _header(lines: list[str], first: int, c: Context) -> list[str]:
    if first:
        header = lines[0]
        other = header.replace("name", "nom").replace("path", "weg")
        start = header.split(",")[0]
        lines[0] = c.rng.choice((other, start, f"{header},{start}"))
    return lines


def _shuffled(lines: list[str], first: int, c: Context) -> list[str]:
    rows = lines[first:]
    c.rng.shuffle(rows)
    return lines[:first] + rows


ROWS: tuple[Mutation, ...] = (
    of_row("an odd number", _number, EITHER),
    of_row("an odd number", _number, EITHER),
    of_row("start and end swapped", _reversed, EITHER),
    meant(of_row("blank field", _blank, EITHER)),  # a class may be left out
    of_row("a field less", lambda words, c: words[:-1], EITHER),
    of_row("a field more", lambda words, c: [*words, "more"], EITHER),
    of_row("name with .mp4", _renamed(lambda n: n.removesuffix(".mp4") + ".mp4"), EITHER),
    of_row("name with .MP4", _renamed(lambda n: n.removesuffix(".mp4") + ".MP4"), EITHER),
    of_row("name decomposed", _renamed(lambda n: unicodedata.normalize("NFD", n)), EITHER),
    of_row("name in capitals", _renamed(str.upper), EITHER),
    of_row("name with spaces", _renamed(lambda n: f" {n} "), EITHER),
    of_row("name of nobody", _renamed(lambda n: "nobody_" + n), ERROR),
    of_row("open quote", _renamed(lambda n: f'"{n}'), ERROR),
    of_row("quoted name", _renamed(lambda n: f'"{n}"'), EITHER),
    of_row("a formula", _renamed(lambda n: f"=HYPERLINK({n})"), ERROR),
    of_row("a field of 2 MB", lambda words, c: [*words[:-1], "x" * 2_000_000], EITHER),
    of_row("null byte", _renamed(lambda n: n[:1] + "\0" + n[1:]), ERROR),
)
LINES: tuple[Mutation, ...] = (
    recoded("byte order mark", lambda t: t.encode("utf-8-sig"), SAME),
    recoded("CRLF", lambda t: t.replace("\n", "\r\n").encode(), SAME),
    recoded("CR alone", lambda t: t.replace("\n", "\r").encode(), EITHER),
    recoded("blank lines", lambda t: t.replace("\n", "\n\n").encode(), SAME),
    recoded("no newline at the end", lambda t: t.rstrip("\n").encode(), SAME),
    recoded("UTF-16", lambda t: t.encode("utf-16"), ERROR),
    recoded("UTF-16 without a mark", lambda t: t.encode("utf-16-le"), ERROR),
    recoded("semicolons", lambda t: t.replace(",", ";").encode(), EITHER),
    recoded("tabs", lambda t: t.replace(",", "\t").encode(), EITHER),
    latin_1,
    of_lines("a row twice", _again, EITHER),
    of_lines("a row lost", _lost, EITHER),
    of_lines("a row of a stranger", _stranger, ERROR, "stranger_x999", "stranger"),
    of_lines("a contrary row", _contrary, EITHER),
    of_lines("another header", _header, EITHER),
    of_lines("rows in another order", _shuffled, EITHER),
    of_lines("the header alone", lambda lines, first, c: lines[:first], EITHER),
    of_lines("no header", lambda lines, first, c: lines[first:], EITHER),
)
TABLES: tuple[Mutation, ...] = ROWS + LINES
