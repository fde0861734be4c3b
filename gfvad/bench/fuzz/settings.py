"""Mutations that leave the files alone: options, places to write to, sources of a stream."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, SECRET, Context, Effect, Mutation

# of keys whose large values only take long
LONG = "train.steps bootstrap simulated members cache_dir root records head.layers"
VALUES = ("-1", "0", "0.5", "-0.5", "nan", "inf", "1e30", "x", "", "None", "True", "()")
VALUES += ("('a', 'b')", "[1, 2]", "{}", "3", "100000", "99999999999999999999")
OPTIONS = """--stpes=3 more --mode=tarin --checkpoint=7 --workdir= --config=none.py
    --config=configs/own.py:novariant --mode=score"""


def override(c: Context) -> Effect:
    """A key of the configuration gets an odd value."""
    from configs.own import get_config
    from gfvad.settings.kinds import settings_of

    table = settings_of(get_config())
    key = c.rng.choice(sorted(table.keys() - {"data.cache_dir"}))  # which is a place to write to
    bounds = table[key].range
    outside = (f"{bounds.low - 1}", f"{bounds.high + 1}") if bounds else ()
    long = any(part in key for part in LONG.split())
    value = c.rng.choice([v for v in VALUES + outside if not (long and len(v) > 4)])
    if long and value in ("3", "True"):
        value = "0"
    words = tuple(word for word in c.argv if not word.startswith(f"--config.{key}="))
    names = [key, key.rsplit(".", 1)[-1]]
    names += [value] if key in ("data.root", "data.records") and value else []
    names += ["modality"] if key == "data.modalities" else []
    given = f"--config.{key}={value}"
    return Effect(CHANGES, tuple(names), given, argv=(*words, given))


def unknown_override(c: Context) -> Effect:
    """A key that is none."""
    key = c.rng.choice(("data.rot", "train", "model.fusion", "trian.steps", "", "data.root.x"))
    return Effect(ERROR, (key, "--config"), key, extra=(f"--config.{key}=1",))


def odd_option(c: Context) -> Effect:
    """An option that is none, or has no sense."""
    word = c.rng.choice(OPTIONS.split())
    names = (word, word.strip("-").split("=")[0], word.split("=")[-1], "none.py", "config")
    return Effect(EITHER, names, word, extra=(word,))


# ---- places to write to --------------------------------------------------------------------------

FOREIGN = {
    "notes.txt": "my own notes\n",
    "manifest.json": '{"mine": true}\n',
    "config.json": '{"also": "mine"}\n',
    "sub/kept.csv": "a,b\n",
    "scores.csv": "mine\n",
    "x.npy": "mine",
}


def out_is_file(c: Context) -> Effect:
    """A file where the output's folder should be."""
    (c.root / "out").write_text("a file of mine\n")
    return Effect(ERROR, ("out",))


def out_is_foreign(c: Context) -> Effect:
    """A folder with files of the user's."""
    names = c.rng.sample(sorted(FOREIGN), c.rng.randrange(1, 4))
    for name in names:
        path = c.root / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FOREIGN[name])
    return Effect(CHANGES, ("out",), ", ".join(names))


def out_is_input(c: Context) -> Effect:
    """The output is a folder of inputs: of a run, of features, of a set."""
    others = ("tmp", "home", "cache", "user", "out")
    folders = sorted(p.name for p in c.root.iterdir() if p.is_dir())
    chosen = c.rng.choice([n for n in folders if n not in others and not n.startswith(".")])
    shutil.copytree(c.root / chosen, c.root / "out")
    return Effect(CHANGES, ("out",), f"a copy of {chosen}")


def _elsewhere(c: Context, place: Callable[[str], str]) -> tuple[str, ...]:
    """The command's words with another output: place(its path)."""
    words = [word.partition("=") for word in c.argv]
    return tuple(
        f"{option}={place(path)}"
        if option in ("--out", "--output") or (option, path[:3]) == ("--workdir", "out")
        else f"{option}{equals}{path}"
        for option, equals, path in words
    )


def out_below_file(c: Context) -> Effect:
    """A part of the output's path is a file."""
    (c.root / "out").write_text("a file of mine\n")
    return Effect(
        ERROR, ("out",), argv=_elsewhere(c, lambda path: path.replace("out", "out/deep", 1))
    )


def out_unwritable(c: Context) -> Effect:
    """A place where nobody may write."""
    place = lambda path: f"/proc/fuzz/{path.partition('/')[2] or 'made'}"
    return Effect(ERROR, ("/proc",), argv=_elsewhere(c, place))


def out_is_link(c: Context) -> Effect:
    """A link to a folder of the user's."""
    (c.root / "out").symlink_to(c.root / "user", target_is_directory=True)
    return Effect(CHANGES, ("out", "user"))


PLACES: tuple[Mutation, ...] = (
    *(out_is_file, out_is_foreign, out_is_foreign, out_is_input),
    *(out_below_file, out_unwritable, out_is_link),
)


# ---- sources of a stream -------------------------------------------------------------------------


def source(name: str, given: str, *names: str, seconds: float = 0.0) -> Mutation:
    """Another source than the command's own."""

    def mutate(c: Context) -> Effect:
        words = tuple(given if w.startswith("clips/") else w for w in c.argv)
        return Effect(ERROR, names, name, argv=words, seconds=seconds)

    mutate.__name__ = name
    return mutate


def sound_url(c: Context) -> Effect:
    """The file, as a URL."""
    words = [f"file://{(c.root / w).absolute()}" if w.startswith("clips/") else w for w in c.argv]
    return Effect(CHANGES, ("file:",), argv=tuple(words))


RTSP, HTTP = (
    f"rtsp://user:{SECRET}@127.0.0.1:9/live",
    f"http://127.0.0.1:9/live.m3u8?token={SECRET}",
)
XYZ = f"xyz://user:{SECRET}@127.0.0.1/live"
SOURCES: tuple[Mutation, ...] = (
    source("unreachable with a password", RTSP, "127.0.0.1", "rtsp", seconds=4.0),
    source("unreachable with a token", HTTP, "127.0.0.1", "http", seconds=4.0),
    source("unknown protocol", XYZ, "127.0.0.1", "xyz", seconds=4.0),
    source("a camera that is not there", "camera:99", "camera:99", seconds=4.0),
    source("a file that is not there", "clips/none.mp4", "none.mp4"),
    source("a folder", "clips/", "clips"),
    source("an empty name", ""),
    source("a device", "/dev/null", "/dev/null"),
    sound_url,
)
