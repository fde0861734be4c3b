"""Mutations of .npy and .npz files of features, masks and scores."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterable

import numpy as np

from gfvad.bench.fuzz import binary
from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, SAME, Context, Effect, Mutation, effect

Change = Callable[[np.ndarray, Context], np.ndarray]


def of_array(name: str, change: Change, expect: str) -> Mutation:
    """A mutation that changes the array of an .npy file."""

    def mutate(c: Context) -> Effect:
        before = np.load(c.path)
        after = change(before, c)
        np.save(c.path, after, allow_pickle=after.dtype == object)
        unchanged = after.dtype == before.dtype and np.array_equal(after, before)
        # a mask of frames, where one more or less is within a unit; an axis of rows, not of crops
        mask = "column" in name and before.ndim == 1
        rows = name == "another crop" and (before.ndim < 3 or before.shape[0] not in (1, 2))
        note = f"{before.dtype}{before.shape} to {after.dtype}{after.shape}"
        return effect(SAME if unchanged else CHANGES if mask or rows else expect, c, note)

    mutate.__name__ = name
    return mutate


def _one(value: float) -> Change:
    def change(x: np.ndarray, c: Context) -> np.ndarray:
        x = x.astype(np.float32) if x.dtype.kind != "f" else x.copy()
        x.flat[c.rng.randrange(x.size)] = value
        return x

    return change


def _whole(value: float) -> Change:
    return lambda x, c: np.full_like(x, value, dtype=x.dtype if x.dtype.kind == "f" else np.float32)


def _rows(count: Callable[[int], int]) -> Change:
    """Rows (axis 1 after an axis of one or two crops, else 0) are repeated or left out."""

    def change(x: np.ndarray, c: Context) -> np.ndarray:
        axis = 0 if x.ndim < 3 or x.shape[0] not in (1, 2) else 1
        return np.take(x, np.arange(max(count(x.shape[axis]), 0)) % max(x.shape[axis], 1), axis)

    return change


ARRAYS: tuple[Mutation, ...] = (
    of_array("nan", _one(np.nan), ERROR),
    of_array("infinite", _one(np.inf), ERROR),
    of_array("1e30", lambda x, c: _one(1e30)(x.astype(np.float32), c), CHANGES),
    of_array("all 1e30", lambda x, c: _whole(1e30)(x.astype(np.float32), c), CHANGES),
    of_array("all zero", _whole(0.0), CHANGES),
    of_array("negative", lambda x, c: -x, CHANGES),
    of_array("another finite number", _one(0.123), CHANGES),
    of_array("float64", lambda x, c: x.astype(np.float64), EITHER),
    of_array("float64 beyond float32", lambda x, c: x.astype(np.float64) * 1e300, ERROR),
    of_array("float16", lambda x, c: x.astype(np.float16), CHANGES),
    of_array("integers", lambda x, c: (x * 9).astype(np.int32), CHANGES),
    of_array("booleans", lambda x, c: x > 0, CHANGES),
    of_array("complex", lambda x, c: x * (1 + 2j), ERROR),
    of_array("objects", lambda x, c: x.astype(object), ERROR),
    of_array("text", lambda x, c: x.astype("U12"), ERROR),
    of_array("dates", lambda x, c: x.astype(np.int64).view("M8[s]").reshape(x.shape), ERROR),
    of_array("records", lambda x, c: np.zeros(x.shape, [("a", "f4"), ("b", "f4")]), ERROR),
    of_array("big-endian", lambda x, c: x.astype(x.dtype.newbyteorder(">")), EITHER),
    of_array("Fortran order", lambda x, c: np.asfortranarray(x), SAME),
    of_array("swapped axes", lambda x, c: np.swapaxes(x, 0, -1), ERROR),
    of_array("one axis more", lambda x, c: x[None], EITHER),
    of_array("flat", lambda x, c: x.ravel(), ERROR),
    of_array("a single number", lambda x, c: x.ravel()[0], ERROR),
    of_array("half the rows", _rows(lambda n: n // 2), ERROR),
    of_array("twice the rows", _rows(lambda n: 2 * n), ERROR),
    of_array("one row more", _rows(lambda n: n + 1), CHANGES),
    of_array("one row less", _rows(lambda n: n - 1), CHANGES),
    of_array("no rows", _rows(lambda n: 0), ERROR),
    of_array("one column more", lambda x, c: np.concatenate([x, x[..., :1]], -1), ERROR),
    of_array("one column less", lambda x, c: x[..., :-1], ERROR),
    of_array("another crop", lambda x, c: np.concatenate([x, x[:1]]), EITHER),
)


def flip_number(c: Context) -> Effect:
    """A flipped byte gives other numbers, which no reader can tell, or some that are not finite."""
    return _other_numbers(c, binary.flip)


def zero_numbers(c: Context) -> Effect:
    """The same of a run of bytes that become zeros."""
    return _other_numbers(c, binary.zero)


def _other_numbers(c: Context, damage: Mutation) -> Effect:
    before, found = np.load(c.path), damage(c)
    if found.expect == SAME:
        return found
    try:
        with np.errstate(all="ignore"):
            after = np.load(c.path)
            finite = after.dtype.kind in "fiub" and bool(np.isfinite(after).all())
    except Exception as error:  # noqa: BLE001 - whatever numpy says of a damaged header
        return effect(ERROR, c, type(error).__name__)
    if after.shape != before.shape:
        return effect(EITHER, c, f"shape {after.shape}")
    return effect(CHANGES if finite else ERROR, c, "other numbers")


def _header(c: Context, shape: tuple[int, int], size: int) -> Effect:
    header = io.BytesIO()
    stated = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, stated)
    c.path.write_bytes(header.getvalue() + bytes(size))
    return effect(ERROR, c)


def huge_header(c: Context) -> Effect:
    """A header that asks for terabytes."""
    return _header(c, (10 ** c.rng.choice((6, 9, 12)), 2048), 2048)


def negative_header(c: Context) -> Effect:
    """A header with a negative length."""
    return _header(c, (-1, 7), 280)


FEATURES: tuple[Mutation, ...] = (*ARRAYS, flip_number, flip_number, huge_header, negative_header)


# ---- .npz ----------------------------------------------------------------------------------------


def _members(c: Context) -> dict[str, bytes]:
    with zipfile.ZipFile(c.path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(c: Context, members: Iterable[tuple[str, bytes]], how: int = zipfile.ZIP_STORED) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(c.path, "w", how) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in members:
            archive.writestr(name, content)


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def _in_both_headers(c: Context, change: Callable[[int], int], first: int) -> Effect:
    """A byte of a member's own header, and of its header in the list at the end."""
    content = c.path.read_bytes()
    places = [content.find(b"PK\3\4") + first, content.find(b"PK\1\2") + first + 2]
    binary.overwrite(c, *((at, bytes([change(content[at])])) for at in places))
    return effect(ERROR, c)


def encrypted(c: Context) -> Effect:
    """The flag of an encrypted member, in both headers."""
    return _in_both_headers(c, lambda flags: flags | 1, 6)


def odd_compression(c: Context) -> Effect:
    """A way of compression that nobody knows."""
    return _in_both_headers(c, lambda way: 97, 8)


def other_compression(c: Context) -> Effect:
    """bzip2, LZMA or deflate: zip files may have it."""
    ways = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    _write(c, _members(c).items(), c.rng.choice(ways))
    return effect(EITHER, c)


def _drawn(c: Context) -> tuple[dict[str, bytes], str]:
    members = _members(c)
    return members, c.rng.choice(sorted(members))


def twice(c: Context) -> Effect:
    """Two members of one name with different content."""
    members, name = _drawn(c)
    other = _npy(np.load(io.BytesIO(members[name]))[::-1])
    if other == members[name]:
        return effect(SAME, c, "nothing to differ")
    _write(c, [*members.items(), (name, other)])
    return effect(EITHER, c, name, name.removesuffix(".npy"))


def lost_member(c: Context) -> Effect:
    """One array is missing."""
    members, name = _drawn(c)
    del members[name]
    _write(c, members.items())
    return effect(ERROR, c, name, name.removesuffix(".npy"))


def _replaced(c: Context, content: bytes) -> Effect:
    members, name = _drawn(c)
    _write(c, (members | {name: content}).items())
    return effect(ERROR, c, name, name.removesuffix(".npy"))


def no_array(c: Context) -> Effect:
    """A member is text."""
    return _replaced(c, b"these are no numbers\n")


def member_of_objects(c: Context) -> Effect:
    """A member that only a pickle can hold."""
    return _replaced(c, _npy(np.array([{"a": 1}], object)))


def is_npy(c: Context) -> Effect:
    """An .npy under the name of an .npz."""
    c.path.write_bytes(_npy(np.zeros((3, 4), np.float32)))
    return effect(ERROR, c)


ARCHIVES: tuple[Mutation, ...] = (
    *(encrypted, odd_compression, other_compression, twice),
    *(lost_member, no_array, member_of_objects, is_npy),
)
