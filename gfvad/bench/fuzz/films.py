"""Mutations of video files."""

from __future__ import annotations

import os
import re
import shutil

from gfvad.bench.fuzz import binary, media
from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, SAME, Context, Effect, Mutation, effect


def noise(c: Context) -> Effect:
    """Many bytes of the pictures are others: as a bad card leaves a film."""
    content = bytearray(c.path.read_bytes())
    for _ in range(40):
        content[c.rng.randrange(64, len(content))] = c.rng.randrange(256)
    c.path.write_bytes(content)
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
    other = c.rng.choice(binary.files_below(c.path.parent))
    c.path.write_bytes(c.path.read_bytes() + other.read_bytes())
    return effect(EITHER, c, other.name)


def other_suffix(c: Context) -> Effect:
    """The name says another container; what is decoded is a video, whatever its name."""
    target = c.path.with_suffix(
        c.rng.choice(
            (
                ".avi",
                ".mkv",
                ".ts",
                ".flv",
                ".wmv",
                ".3gp",
                ".mts",
                ".dav",
                ".gif",
                ".MP4",
                ".mpeg",
                ".txt",
                "",
            )
        )
    )
    shutil.move(c.path, target)
    return Effect(
        EITHER, (*effect(EITHER, c).names, target.name, target.suffix or target.name), target.name
    )


def other_container(c: Context) -> Effect:
    """Another format, with the suffix that belongs to it."""
    target = c.path.with_suffix(c.rng.choice((".avi", ".mkv", ".ts", ".mov")))
    media.write(target, 36, 77, sound=target.suffix != ".avi")
    c.path.unlink()
    return Effect(CHANGES, (*effect(CHANGES, c).names, target.name), target.name)


def few_frames(c: Context) -> Effect:
    """One frame, or two."""
    media.write(c.path, c.rng.choice((1, 2)), 5, sound=c.rng.random() < 0.5)
    return effect(CHANGES, c)


def huge_box(c: Context) -> Effect:
    """A part of the file says that it is enormous."""
    content = bytearray(c.path.read_bytes())
    names = [
        name
        for name in (b"moov", b"mdat", b"stsz", b"stco", b"stts", b"trak", b"avcC", b"esds")
        if content.find(name) >= 4
    ]
    if not names:
        return effect(SAME, c, "no parts")
    at = content.find(c.rng.choice(names))
    where = c.rng.choice((at - 4, at + 8, at + 12))
    content[where : where + 4] = c.rng.choice(
        (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")
    )
    c.path.write_bytes(content)
    return effect(CHANGES, c, f"byte {where}")


def huge_picture(c: Context) -> Effect:
    """The track says pictures of 65535 x 65535."""
    content = bytearray(c.path.read_bytes())
    at = content.find(b"mp4v")
    if at < 0:
        return effect(SAME, c, "no track")
    content[at + 28 : at + 32] = b"\xff\xff\xff\xff"
    c.path.write_bytes(content)
    return effect(CHANGES, c)


def stranger(c: Context) -> Effect:
    """Beside the videos lies what is none, under a video's name; it is named."""
    path = c.path.with_name("stranger_x999.mp4")
    kind = c.rng.choice(("text", "empty", "pipe", "loop", "folder", "dangling"))
    if kind == "text":
        path.write_text("<html>404</html>\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        return Effect(EITHER, (path.name, path.stem), kind)
    else:
        path.symlink_to(path.name if kind == "loop" else "nowhere.mp4")
    return Effect(ERROR, (path.name, path.stem), kind)


def link_above(c: Context) -> Effect:
    """A link to the folder above: a loop for who follows it."""
    (c.path.parent / "again").symlink_to("..", target_is_directory=True)
    return Effect(EITHER, ("again",))


def odd_name(c: Context) -> Effect:
    """Names that break tables, pages and terminals."""
    name = c.rng.choice(
        (
            "=HYPERLINK(1)",
            "a,b\"c'",
            "<script>alert(1)<",
            "new\nline",
            "\u202eevil",
            "-rf",
            "a" * 240,
            "%s{0}",
            "\udcff",
            "..",
            "$(touch x)",
            " lead",
            "con",
        )
    )
    target = c.path.with_name(name + ".mp4")
    shutil.copy(c.path, target)
    shown = re.sub(r"[\x00-\x1f]+", " ", name)  # what tables call it
    return Effect(CHANGES, (name, name[:20], ascii(name)[1:9], shown), ascii(name))


FILMS: tuple[Mutation, ...] = (
    flip,
    flip,
    noise,
    noise,
    joined,
    joined,
    other_suffix,
    other_container,
    few_frames,
    huge_box,
    huge_box,
    huge_picture,
    stranger,
    stranger,
    stranger,
    link_above,
    odd_name,
    odd_name,
    binary.cut,
    binary.cut,
    binary.append,
    binary.empty,
    zero,
    *binary.PLACES,
    binary.upper_suffix,
    binary.hidden,
)
BESIDE = (stranger, link_above, odd_name, binary.hidden)  # which leave the file itself alone
STREAMED: tuple[Mutation, ...] = tuple(m for m in FILMS if m not in BESIDE)
