"""Mutations of video files."""

from __future__ import annotations

import os
import re
import shutil

from gfvad.bench.fuzz import binary, media
from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, SAME, Context, Effect, Mutation, effect

SUFFIXES = ".avi .mkv .ts .flv .wmv .3gp .mts .dav .gif .MP4 .mpeg .txt"
ODD_NAMES = ("=HYPERLINK(1)", "a,b\"c'", "<script>alert(1)<", "new\nline", "\u202eevil", "-rf")
ODD_NAMES += ("a" * 240, "%s{0}", "\udcff", "..", "$(touch x)", " lead", "con")
BOXES = (b"moov", b"mdat", b"stsz", b"stco", b"stts", b"trak", b"avcC", b"esds")


def noise(c: Context) -> Effect:
    """Many bytes of the pictures are others: as a bad card leaves a film."""
    size = c.path.stat().st_size
    for _ in range(40):
        other = bytes([c.rng.randrange(256)])
        binary.overwrite(c, (c.rng.randrange(64, size), other))
    return effect(CHANGES, c)


def flip(c: Context) -> Effect:
    """One byte; most of them are pictures, which no reader can tell."""
    return binary.flip(c)._replace(expect=CHANGES)


def zero(c: Context) -> Effect:
    """A run of bytes becomes zeros: of pictures too, as with `flip`."""
    told = binary.zero(c)
    return told if told.expect == SAME else told._replace(expect=CHANGES)


def joined(c: Context) -> Effect:
    """Two files one after the other."""
    other = c.rng.choice(sorted(p for p in c.path.parent.rglob("*") if p.is_file()))
    c.path.write_bytes(c.path.read_bytes() + other.read_bytes())
    return effect(EITHER, c, other.name)


def other_suffix(c: Context) -> Effect:
    """The name says another container; what is decoded is a video, whatever its name."""
    target = c.path.with_suffix(c.rng.choice([*SUFFIXES.split(), ""]))
    shutil.move(c.path, target)
    return effect(EITHER, c, target.name, target.name, target.suffix or target.name)


def other_container(c: Context) -> Effect:
    """Another format, with the suffix that belongs to it."""
    target = c.path.with_suffix(c.rng.choice((".avi", ".mkv", ".ts", ".mov")))
    media.write_video(target, 36, 77, sound=target.suffix != ".avi")
    c.path.unlink()
    return effect(CHANGES, c, target.name, target.name)


def few_frames(c: Context) -> Effect:
    """One frame, or two."""
    media.write_video(c.path, c.rng.choice((1, 2)), 5, sound=c.rng.random() < 0.5)
    return effect(CHANGES, c)


def huge_box(c: Context) -> Effect:
    """A part of the file says that it is enormous."""
    content = c.path.read_bytes()
    names = [name for name in BOXES if content.find(name) >= 4]
    if not names:
        return effect(SAME, c, "no parts")
    at = content.find(c.rng.choice(names))
    where = c.rng.choice((at - 4, at + 8, at + 12))
    sizes = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")
    binary.overwrite(c, (where, c.rng.choice(sizes)))
    return effect(CHANGES, c, f"byte {where}")


def huge_picture(c: Context) -> Effect:
    """The track says pictures of 65535 x 65535."""
    at = c.path.read_bytes().find(b"mp4v")
    if at < 0:
        return effect(SAME, c, "no track")
    binary.overwrite(c, (at + 28, b"\xff\xff\xff\xff"))
    return effect(CHANGES, c)


def stranger(c: Context) -> Effect:
    """Beside the videos lies what is none, under a video's name; it is named."""
    path = c.path.with_name("stranger_x999.mp4")
    kind = c.rng.choice(("text", "empty", "pipe", "loop", "folder", "dangling"))
    if kind in ("text", "empty"):
        path.write_text("<html>404</html>\n" if kind == "text" else "")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name if kind == "loop" else "nowhere.mp4")
    return Effect(EITHER if kind == "folder" else ERROR, (path.name, path.stem), kind)


def link_above(c: Context) -> Effect:
    """A link to the folder above: a loop for who follows it."""
    (c.path.parent / "again").symlink_to("..", target_is_directory=True)
    return Effect(EITHER, ("again",))


def odd_name(c: Context) -> Effect:
    """Names that break tables, pages and terminals."""
    name = c.rng.choice(ODD_NAMES)
    shutil.copy(c.path, c.path.with_name(name + ".mp4"))
    shown = re.sub(r"[\x00-\x1f]+", " ", name)  # what tables call it
    return Effect(CHANGES, (name, name[:20], ascii(name)[1:9], shown), ascii(name))


BESIDE = (stranger, link_above, odd_name, binary.hidden)  # which leave the file itself alone
FILMS: tuple[Mutation, ...] = (
    *(flip, flip, noise, noise, joined, joined, other_suffix, other_container, few_frames),
    *(huge_box, huge_box, huge_picture, stranger, stranger, stranger, link_above),
    *(odd_name, odd_name, binary.cut, binary.cut, binary.append, binary.empty, zero),
    *(*binary.PLACES, binary.upper_suffix, binary.hidden),
)
STREAMED: tuple[Mutation, ...] = tuple(m for m in FILMS if m not in BESIDE)
