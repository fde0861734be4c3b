"""Mutations of bytes and of files as wholes: whatever a file holds, these can happen to it."""

from __future__ import annotations

import os
import shutil
import unicodedata

from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, SAME, Context, Effect, Mutation, effect


def overwrite(c: Context, *places: tuple[int, bytes]) -> None:
    """Other bytes at some places (where, what) of the file; its length stays."""
    with open(c.path, "r+b") as file:
        for at, content in places:
            file.seek(at)
            file.write(content)


def flip(c: Context) -> Effect:
    """One byte becomes another."""
    content = c.path.read_bytes()
    if not content:
        return effect(SAME, c)
    at = c.rng.randrange(len(content))
    overwrite(c, (at, bytes([content[at] ^ c.rng.randrange(1, 256)])))
    return effect(EITHER, c, f"byte {at} of {len(content)}")


def zero(c: Context) -> Effect:
    """A run of bytes becomes zeros."""
    content = c.path.read_bytes()
    begin = c.rng.randrange(max(len(content), 1))
    end = min(len(content), begin + c.rng.choice((4, 64, 4096)))
    if not any(content[begin:end]):
        return effect(SAME, c, "were zeros")
    overwrite(c, (begin, bytes(end - begin)))
    return effect(EITHER, c, f"bytes {begin} to {end}")


def cut(c: Context) -> Effect:
    """The file ends early."""
    size = c.path.stat().st_size
    keep = c.rng.choice((size // 2, size - 1, c.rng.randrange(max(size, 1)), min(size, 64)))
    os.truncate(c.path, max(keep, 0))
    return effect(EITHER, c, f"{keep} of {size} bytes")


def append(c: Context) -> Effect:
    """Bytes after the end."""
    noise = bytes(c.rng.randrange(256) for _ in range(99))
    with open(c.path, "ab") as file:
        file.write(c.rng.choice((b"\n", b"\0" * 512, b"garbage behind the end", noise)))
    return effect(EITHER, c)


def empty(c: Context) -> Effect:
    """No bytes."""
    c.path.write_bytes(b"")
    return effect(EITHER, c)


def remove(c: Context) -> Effect:
    """The file is gone."""
    c.path.unlink()
    kept = "calibration" not in c.path.name  # a run without one has another rule for alarms
    return effect(EITHER if kept else CHANGES, c, "", c.path.parent.name)


def pipe(c: Context) -> Effect:
    """A named pipe in its place, that nobody writes to."""
    c.path.unlink()
    os.mkfifo(c.path)
    return effect(EITHER, c)


def link_loop(c: Context) -> Effect:
    """A link to itself."""
    c.path.unlink()
    c.path.symlink_to(c.path.name)
    return effect(EITHER, c)


def dangling(c: Context) -> Effect:
    """A link to nothing."""
    c.path.unlink()
    c.path.symlink_to("nowhere" + c.path.suffix)
    return effect(EITHER, c)


def folder(c: Context) -> Effect:
    """A folder of that name."""
    c.path.unlink()
    c.path.mkdir()
    return effect(EITHER, c)


def link(c: Context) -> Effect:
    """A sound link to the file: read as the file."""
    moved = c.root / ("moved" + c.path.suffix)
    shutil.move(c.path, moved)
    c.path.symlink_to(moved)
    return effect(SAME, c)


def text(c: Context) -> Effect:
    """A web page under that name."""
    c.path.write_text("<html><body>404 not found</body></html>\n")
    # a checkpoint's folder holds files that its writer has merged into others: nothing reads them
    return effect(EITHER if "checkpoints" in c.path.parts else ERROR, c)


def other_file(c: Context) -> Effect:
    """The content of another file of the same suffix beside it."""
    content, others = c.path.read_bytes(), sorted(c.path.parent.glob(f"*{c.path.suffix}"))
    others = [p for p in others if p.is_file() and p.read_bytes() != content]
    if not others:
        return effect(SAME, c, "no other")
    chosen = c.rng.choice(others)
    c.path.write_bytes(chosen.read_bytes())
    numbers = c.path.suffix in (".npy", ".mp4")  # which no reader can tell from its own
    return effect(CHANGES if numbers else EITHER, c, f"of {chosen.name}")


def _renamed(c: Context, name: str, keep: bool = False) -> Effect:
    target = c.path.with_name(name)
    if target.exists():
        return effect(SAME, c, "stands already")
    (shutil.copy if keep else shutil.move)(c.path, target)
    note = f"{'copy' if keep else 'now'} {ascii(name)}"
    return effect(EITHER, c, note, target.name, target.stem)


def misspelt(c: Context) -> Effect:
    """Another stem: one of its readers lacks it."""
    return _renamed(c, f"x{c.path.name}")


def upper_suffix(c: Context) -> Effect:
    """.NPY, .MP4."""
    return _renamed(c, c.path.stem + c.path.suffix.upper())


def other_form(c: Context) -> Effect:
    """The same name in decomposed Unicode."""
    return _renamed(c, unicodedata.normalize("NFD", c.path.name))


def duplicate(c: Context) -> Effect:
    """The file twice, under a name that some readers take for the same."""
    stem, suffix = c.path.stem, c.path.suffix
    ends = (suffix.upper(), f".mp4{suffix}", f" (1){suffix}")
    names = (*(stem + end for end in ends), stem.upper() + suffix)
    return _renamed(c, c.rng.choice(names), keep=True)


def hidden(c: Context) -> Effect:
    """What a file browser or an archive of another system leaves beside a file: never read."""
    own = c.path.name
    names = (f"._{own}", ".DS_Store", "Thumbs.db", f".{own}.swp", f"{own}.part", f"{own}~")
    name = c.rng.choice(names)
    c.path.with_name(name).write_bytes(b"\0\5\x16\7 not yours")
    return effect(EITHER, c, name, name)


PARTS = (("/train/", "/test/"), ("RGB/", "RGBTest/"), ("SH_Train_", "SH_Test_"))
PARTS = (*PARTS, ("_Train_", "_Test_"))


def other_part(c: Context) -> Effect:
    """The file of a training video lies with the test videos, or the other way round."""
    path = str(c.path.relative_to(c.root))
    for one, other in (pair for both in PARTS for pair in (both, both[::-1])):
        if one in path:
            target = c.root / path.replace(one, other, 1)
            target.parent.mkdir(parents=True, exist_ok=True)
            keep = c.rng.random() < 0.5
            (shutil.copy if keep else shutil.move)(c.path, target)
            nobody = one.startswith("SH_") and "01_0015" not in c.path.name  # it has a mask
            expect = CHANGES if nobody and not keep else ERROR  # nothing else says of which part
            place = target.relative_to(c.root).parent
            return effect(expect, c, f"{'also' if keep else 'now'} in {place}")
    return effect(SAME, c, "no parts")


def old_time(c: Context) -> Effect:
    """Only the time of the last change differs."""
    os.utime(c.path, (1, c.rng.randrange(10**9)))
    return effect(SAME, c)


DAMAGE: tuple[Mutation, ...] = (flip, flip, zero, cut, cut, append, empty, remove)
PLACES: tuple[Mutation, ...] = (pipe, link_loop, dangling, folder, link, text, other_file, old_time)
NAMES: tuple[Mutation, ...] = (misspelt, upper_suffix, other_form, duplicate, hidden)
