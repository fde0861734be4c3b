"""Labels of whole videos and the split into train and test: from a table, from the names of
folders, or (layout xd) from the videos' names.

The split is by SHA-256 of the file's name, so it does not change with the machine or the order: of
each label the smallest hashes are the test part, or, for cross-validation, those of another fold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.files import read_table
from gfvad.base.names import near, some
from gfvad.base.types import ConfigError, DataError
from gfvad.data import annotations
from gfvad.data.features.layouts.entries import SPLITS
from gfvad.data.features.layouts.generic import COUNTS, LABELS, SPANS
from gfvad.data.features.layouts.parts import part_of_folder
from gfvad.data.frames.cache import say_on_stderr
from gfvad.extraction.feature_files import save_bytes, save_table
from gfvad.extraction.ownership import ANNOTATIONS
from gfvad.extraction.scenes import sources
from gfvad.extraction.videos import VideoSource, video_name


class Label(NamedTuple):
    """Of one video."""

    label: int  # 0 normal, 1 abnormal
    split: str  # 'train' | 'test'
    classes: tuple[str, ...] = ()
    source: str = ""  # scene, camera or recording; '' where it is not said


def from_folders(
    videos: Sequence[VideoSource],
    normal: Sequence[str],
    abnormal: Sequence[str],
    fraction: float,
    fold: int = 0,
) -> dict[str, Label]:
    """{name: Label} by the folders that videos lie in; the class of an abnormal one is its folder's
    name.

    Raises ConfigError where a folder is named on both sides, DataError for videos in none of them
    or on both sides.
    """
    if set(normal) & set(abnormal) or not normal or not abnormal:
        raise ConfigError(
            f"--normal={','.join(normal)} --abnormal={','.join(abnormal)}: expected names of"
            " different folders in both"
        )
    usual, odd = (
        {v.name: [f for f in v.folders if f in side] for v in videos} for side in (normal, abnormal)
    )
    wrong = [v.path for v in videos if bool(usual[v.name]) == bool(odd[v.name])]
    if wrong:
        raise DataError(
            f"{len(wrong)} videos lie in folders of neither or both labels:"
            f" {some(map(str, wrong))}; expected each below one named {', '.join(normal)} (normal)"
            f" or {', '.join(abnormal)} (abnormal): move them, or give --labels=FILE"
        )
    found = {name: Label(int(bool(inside)), "", tuple(inside[-1:])) for name, inside in odd.items()}
    return with_split(found, videos, fraction, fold)


def from_table(
    path: Path,
    videos: Sequence[VideoSource],
    fraction: float,
    fold: int = 0,
    say: Callable[[str], None] = say_on_stderr,
) -> dict[str, Label]:
    """{name: Label} of a CSV `name,label[,split][,class][,source]`: names with or without folders
    and suffix. `say` is told of lines of other videos.

    Raises DataError for a line that cannot be read, two lines of one video, a line that fits
    several, a split for some videos only, one that a video's folder contradicts, and videos without
    a line.
    """
    table: dict[str, Label] = {}
    spelt: dict[str, str] = {}
    for where, row in read_table(path, ("name", "label"), ("split", "class", "source")):
        name = video_name(row["name"])
        if row["label"] not in ("0", "1") or row["split"] not in ("", *SPLITS) or not row["name"]:
            raise DataError(
                f"{where}: {row['name']!r}, label {row['label']!r}, split {row['split']!r};"
                " expected each name once, 0 or 1, train or test"
            )
        if name in table:
            said = f"{row['name']!r} and {spelt[name]!r} are one video"
            if row["name"] == spelt[name]:
                said = f"video {row['name']!r} stands twice"
            raise DataError(f"{where}: {said}; expected one line a video: remove one")
        classes = tuple(c.strip() for c in row["class"].split(";") if c.strip())
        line = Label(int(row["label"]), row["split"], classes, row["source"])
        table[name], spelt[name] = line, row["name"]
    lines = fit(table, videos, path)
    found = {video.name: table[lines[video.name]] for video in videos if video.name in lines}
    unused = [spelt[name] for name in table if name not in set(lines.values())]
    lost = [video.name for video in videos if video.name not in lines]
    if lost:
        hints = ((name, near(name, map(video_name, unused))) for name in lost[:10])
        like = next((f" ({name!r}{hint})" for name, hint in hints if hint), "")
        raise DataError(
            f"{path}: no line for {len(lost)} of {len(videos)} videos: {some(lost)}{like}; expected"
            f" a label for each, by its name. Lines of no video: {some(unused) or 'none'}"
        )
    if unused:
        say(
            f"note: {path}: {len(unused)} of {len(table)} lines are of no video that was given, and"
            f" are left out: {some(unused)}"
        )
    require_places(found, videos, f"its line in {path}")
    without = [name for name, line in found.items() if not line.split]
    if without and len(without) < len(found):
        raise DataError(
            f"{path}: no split for {len(without)} of {len(found)} videos: {some(without)}; expected"
            " train or test for all, or for none"
        )
    if fold and not without:
        raise ConfigError(f"--fold={fold}: {path} states a split; leave its column `split` out")
    return with_split(found, videos, fraction, fold) if without else found


def fit(names: Iterable[str], videos: Sequence[VideoSource], file: Path) -> dict[str, str]:
    """{video: the name of a table that is its}: its own, or that of its file without folders, where
    no other video has it.

    Raises DataError where a name without folders fits several videos, or a video is there with its
    folders and without.
    """
    names, own = set(names), {video.name for video in videos}
    found: dict[str, str] = {}
    bare: dict[str, list[str]] = {}
    twice: list[tuple[str, VideoSource]] = []
    for video in videos:
        short = video_name(video.path.name)
        without = short in names and short not in own
        if video.name in names:
            found[video.name] = video.name
            twice += [(short, video)] if without else []
        elif without:
            found[video.name] = short
            bare.setdefault(short, []).append(video.name)
    for short, video in twice:
        if short not in bare:
            raise DataError(
                f"{file}: {short!r} and {video.name!r} are both of {video.path}; expected one name"
                " a video: remove the other"
            )
    for short, fits in bare.items():
        if len(fits) > 1:
            raise DataError(
                f"{file}: {short!r} fits {len(fits)} videos: {some(fits)}; expected a line for"
                " each, with its folder"
            )
    return found


def require_places(
    labels: Mapping[str, Label], videos: Sequence[VideoSource], decided: str, lenient: bool = False
) -> None:
    """Raises DataError where a video lies in a folder of the other part. lenient: only for test
    videos in training."""
    wrong = {}
    for video in videos:
        split = labels[video.name].split
        allowed = {None, split, "train" if lenient else split}
        against = next((f for f in video.folders[1:] if part_of_folder(f) not in allowed), None)
        if split and against:
            wrong[video.name] = f"{split} by {decided}, but it lies in the folder {against!r}"
    if wrong:
        first = sorted(wrong)[0]
        raise DataError(
            f"{len(wrong)} videos are of one part by their folder and of the other otherwise:"
            f" {some(wrong)}: {first} is for {wrong[first]}; expected them to agree: correct the"
            " split, give one by --labels=FILE, or move the videos"
        )


def from_xd_names(videos: Sequence[VideoSource]) -> dict[str, Label]:
    """{name: Label} by XD-Violence's names, without a split. Raises DataError for other names."""
    known = {v.name: annotations.xd_classes(v.name) for v in videos}
    found = {
        name: Label(about[0], "", about[1])
        for name, about in known.items()
        if about is not None and name.split() == [name]
    }
    if wrong := [name for name in known if name not in found]:
        raise DataError(
            f"--layout=xd: {len(wrong)} names are not of XD-Violence's form: {some(wrong)};"
            " expected no blanks and _label_A or e.g. _label_B1-0-0 at the end: rename the files,"
            " or use --layout=generic"
        )
    return found


def with_split(
    labels: Mapping[str, Label], videos: Sequence[VideoSource], fraction: float, fold: int = 0
) -> dict[str, Label]:
    """The same with a split: of each label round(fraction * n) test videos, at least one and not
    all where there are two.

    fold k of round(1 / fraction): the k-th such part in the order of the hashes, the last one with
    what is left over. Raises ConfigError for a fold that there is not, DataError where a video in a
    folder called test would be trained on.
    """
    folds = round(1 / fraction) if fraction > 0 else 1
    if not 0 <= fold < folds:
        raise ConfigError(
            f"--fold={fold}: expected 0 to {folds - 1} for --test-fraction={fraction}"
        )
    files = {v.name: v.path.name for v in videos}
    test: set[str] = set()
    for label in (0, 1):
        own = sorted(
            (hashlib.sha256(files[n].encode("utf-8", "surrogateescape")).hexdigest(), n)
            for n, line in labels.items()
            if line.label == label
        )
        count = round(fraction * len(own))
        if 0 < fraction < 1:
            count = min(max(count, 1), len(own) - 1)
        first = fold * count
        last = len(own) if 0 < fold == folds - 1 else first + count
        if own and fold and not first < last <= len(own):
            raise ConfigError(
                f"--fold={fold}: {len(own)} videos of label {label} are too few for {folds} folds;"
                " give a larger --test-fraction"
            )
        test |= {name for _, name in own[first:last]}
    found = {
        name: line._replace(split="test" if name in test else "train")
        for name, line in labels.items()
    }
    require_places(found, videos, "the hash of its name", lenient=True)
    return found


def write_tables(
    out: Path,
    layout: str,
    videos: Mapping[str, Mapping[str, Any]],
    spans: Mapping[str, Sequence[tuple[int, int, str]]],
) -> None:
    """The tables of a layout from records of the manifest: frame counts and, of what has labels,
    labels, split and spans. Raises NoRoom.

    spans {name: [(start, end, class)]} in frames: an abnormal test video without any counts as
    abnormal from end to end, as its label says.
    """
    labelled = {name: r for name, r in videos.items() if "label" in r}
    test = [name for name, r in labelled.items() if r["split"] == "test"]
    abnormal = [name for name in test if labelled[name]["label"]]
    classes = {name: ";".join(r["classes"]) for name, r in labelled.items()}
    chosen = {
        name: spans.get(name) or [(0, videos[name]["frames"], classes[name])] for name in abnormal
    }
    counted = videos if layout == "generic" else test
    counts = "".join(f"{name}@{videos[name]['frames']}\n" for name in counted)
    save_bytes(out / COUNTS, counts.encode())
    if layout == "xd":
        lines = [(name, *(t for span in chosen[name] for t in span[:2])) for name in abnormal]
        text = "".join(f"{' '.join(map(str, line))}\n" for line in lines)
        save_bytes(out / ANNOTATIONS, text.encode())
    elif labelled:
        known = sources(labelled)
        rows = [
            (name, r["label"], r["split"], classes[name], known[name])
            for name, r in labelled.items()
        ]
        save_table(out / LABELS, ("name", "label", "split", "class", "source"), rows)
        rows = [(name, *span) for name in abnormal for span in chosen[name]]
        save_table(out / SPANS, ("name", "start", "end", "class"), rows)
