"""The one atomic writer and the guarded readers of text, JSON and tables.

A reader takes regular files only (a FIFO would hang it), looks at the size before it asks for
memory, and says the file, the place, what was found, what was expected and what to do.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import difflib
import errno
import io
import json
import math
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from gfvad.base.errors import DataError, cannot_read, cannot_write
from gfvad.base.json_text import parse_json as parse_json

LARGEST_TEXT = 2 << 30  # bytes of a text file that is read at once
WIDEST_FIELD = 1 << 20  # characters of a field of a table
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


# ---- writing


def atomically(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> Path:
    """Writes a file whole or not at all, folders above included; returns its path. `write(file)`
    gives the content.

    Raises DataError where it cannot be written (full disk, no right, a file where a folder should
    be).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[-100:]}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        error.filename = str(path) if error.filename in (None, str(temporary)) else error.filename
        raise cannot_write(path, error) from None
    return path


def write_text(path: str | os.PathLike, text: str) -> Path:
    """UTF-8; what no UTF-8 can hold (half an emoji) is written as '?'."""
    return atomically(path, lambda file: file.write(text.encode("utf-8", "replace")))


def write_json(path: str | os.PathLike, tree: Any, indent: int | None = 1) -> Path:
    """JSON in ASCII, without NaN. Raises ValueError for numbers that are not finite."""
    return atomically(
        path, lambda file: file.write(json.dumps(tree, indent=indent, allow_nan=False).encode())
    )


def write_table(
    path: str | os.PathLike, header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Path:
    """A CSV whose text cells no spreadsheet runs as formulas."""
    return write_text(path, table_text(header, rows))


def table_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """What `write_table` writes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([[safe_cell(cell) for cell in row] for row in [header, *rows]])
    return text.getvalue()


def safe_cell(cell: Any) -> Any:
    """A cell of a CSV; text that a spreadsheet would run (it begins with = + - @, tab or return)
    gets an apostrophe before it.

    Text that is a number stays as it is.
    """
    if not isinstance(cell, str) or not cell or cell[0] not in "=+-@\t\r\n":
        return cell
    try:
        float(cell)
        return cell
    except ValueError:
        return f"'{cell}"


def raw_cell(cell: str) -> str:
    """The inverse of `safe_cell`."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in "=+-@\t\r\n" else cell


# ---- reading


def lies_at(path: str | os.PathLike) -> bool:
    """Whether anything lies there: a file, but also a folder, a pipe, a link to nothing. What
    lies there is then read, or refused, never taken for absent."""
    return os.path.lexists(path)


def require_regular(path: str | os.PathLike, what: str) -> int:
    """Size in bytes of a regular file. Raises DataError for anything else: absent, a folder, a
    FIFO, a device, a loop of links."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise cannot_read(path, error, what) from None
    except ValueError as error:  # a null byte in the path
        raise DataError(f"{path!r}: no path ({error}); expected {what}") from None
    if not stat.S_ISREG(found.st_mode):
        raise DataError(
            f"{path}: {describe_mode(found.st_mode)}; expected {what}, in a regular file"
        )
    return found.st_size


def present(path: str | os.PathLike, what: str) -> bool:
    """Whether an optional file is there.

    Raises DataError where no regular file stands in its place: a folder, a pipe, a link to nothing.
    """
    return os.path.lexists(path) and require_regular(path, what) >= 0


def describe_mode(mode: int) -> str:
    """'a folder', 'a named pipe', ..."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def read_bytes(path: str | os.PathLike, what: str, largest: int = LARGEST_TEXT) -> bytes:
    """A whole regular file. Raises DataError where it is none, is larger than `largest`, or
    cannot be read."""
    size = require_regular(path, what)
    if size > largest:
        raise DataError(
            f"{path}: {size:,} bytes; expected {what} of at most {largest:,}: is it the right file?"
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise cannot_read(path, error, what) from None


def read_text(path: str | os.PathLike, what: str) -> str:
    """A UTF-8 text, with or without a byte order mark. Raises DataError, with line and byte, for
    any other encoding."""
    content = read_bytes(path, what)
    if content.startswith(UTF16) or content[:4].count(0) >= 2:
        raise DataError(
            f"{path}: text in UTF-16, or no text; expected {what} in UTF-8: save it again as UTF-8"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        begin = content.rfind(b"\n", 0, error.start) + 1  # of the line
        number = content.count(b"\n", 0, begin) + 1
        place = f"line {number}, byte {error.start - begin + 1} (0x{content[error.start]:02x})"
        raise DataError(
            f"{path}, {place}: not UTF-8 (Latin-1 or Windows text?); expected {what} in UTF-8: save"
            " it again as UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(
            f"{path}, line {line}: a null byte; expected {what} as plain text: write it again"
        )
    return text


def read_json(path: str | os.PathLike, what: str, kind: type = dict, finite: bool = True) -> Any:
    """The content of a JSON file whose top level is a `kind`.

    Raises DataError for text that is no JSON, a repeated key, text with half a character (a lone
    surrogate), absurd depth, another top level, and (finite) numbers that are none or infinite.
    """
    return parse_json(read_text(path, what), str(path), what, kind, finite)


def read_json_lines(
    path: str | os.PathLike, what: str, torn: bool = False, finite: bool = True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of the non-blank lines of a file with a JSON object a line. Raises DataError
    as `read_json`.

    torn: a last line without its end, of a writer that was killed or is at work, is passed over.
    """
    lines = read_text(path, what).split("\n")
    for number, line in enumerate(lines[:-1] if torn else lines, 1):
        if line.strip():
            yield (
                f"{path}, line {number}",
                parse_json(line, f"{path}, line {number}", what, finite=finite),
            )


def read_lines(path: str | os.PathLike, what: str) -> list[tuple[int, str]]:
    """(number, text) of the non-blank lines that are no comment ('# ...'). Raises DataError as
    `read_text`, and where there are none."""
    text = read_text(path, what).replace("\r\n", "\n").replace("\r", "\n")
    lines = [
        (i, line.strip())
        for i, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith("# ")
    ]
    if not lines:
        raise DataError(f"{path}: empty; expected {what}")
    return lines


def read_table(
    path: str | os.PathLike, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV with a header as (where, {column: stripped text}); absent optional columns are
    ''.

    Raises DataError for missing or repeated columns, a row with another number of fields, an open
    quote, or a field of absurd length.
    """
    expected = ",".join(columns) + "".join(f"[,{c}]" for c in optional)
    text = read_text(path, f"a CSV with the columns {expected}")
    if not text.strip():
        raise DataError(f"{path}: empty; expected a CSV with the columns {expected}")
    csv.field_size_limit(WIDEST_FIELD)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header: list[str] = []
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(
                f"{path}, line {number}: {error}; expected {expected}, fields with commas or quotes"
                f" in quotes, none above {WIDEST_FIELD:,} characters"
            ) from None
        if row is None:
            break
        fields = [raw_cell(field.strip()) for field in row]
        if not any(fields) or (fields[0].startswith("# ")):
            continue
        if not header:
            header = fields
            if not set(columns) <= set(header) or len(set(header)) < len(header):
                raise DataError(
                    f"{path}, line {number}: columns {','.join(header)}; expected {expected}, each"
                    " once, in the first line"
                )
            for column in set(header) - {*columns, *optional}:
                if close := difflib.get_close_matches(column.lower(), optional, n=1, cutoff=0.75):
                    raise DataError(
                        f"{path}, line {number}: column {column!r}; expected {expected}: "
                        f"call it {close[0]!r}, or otherwise if it is something else"
                    )
        elif len(fields) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields; expected {len(header)}"
                f" ({','.join(header)})"
            )
        else:
            yield f"{path}, line {number}", dict.fromkeys(optional, "") | dict(zip(header, fields))


def number(
    text: Any, where: str, what: str, least: float = -math.inf, most: float = math.inf
) -> float:
    """A finite number in [least, most] from text in plain digits. Raises DataError."""
    try:
        value = float(text) if str(text).isascii() and "_" not in str(text) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and least <= value <= most):
        raise DataError(f"{where}: {text!r}; expected {what}")
    return value


def whole_number(text: str) -> int | None:
    """A whole number of at most 18 digits 0 to 9, 0 or more; None for other text ('²', '３' and
    '' too)."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def remove_tree(folder: Path, names: Iterable[str]) -> bool:
    """Removes these entries of a folder that a command made for itself, and the folder where
    nothing else is in it; whether it is gone."""
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not os.path.lexists(folder)
