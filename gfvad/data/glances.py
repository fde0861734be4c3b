"""Glances: one annotated frame of each abnormal event of training videos, beside the video labels.

A file has a row a glance: columns `name` and `frame` (0-based). They are read for training alone,
and only of videos that are trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.fetched import local_folder
from gfvad.base.files import read_table
from gfvad.base.names import Names, matched, some
from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError
from gfvad.data.annotations import Videos
from gfvad.data.ground_truth import SNIPPET
from gfvad.data.sampling import Units

GLANCE = "glance"  # what goes beside the modalities of a training example: [N, 1], 1 at a glance
COLUMNS = ("name", "frame")


class Glances(NamedTuple):
    """Those of the videos that are trained on."""

    units: Mapping[int, np.ndarray]  # video -> int64 [K], its units with a glance
    digest: str  # of what they are, for a saved position
    notes: tuple[str, ...] = ()  # what was read, and what was left out


def glances_path(data_cfg: Any) -> Path | None:
    """The file of a config: relative to the root (or absolute); None where there is none."""
    if not data_cfg.get("glances"):
        return None
    return local_folder(data_cfg.root) / Path(data_cfg.glances).expanduser()


def read_glances(path: Path) -> Names:
    """{video: int64 [K], frames in time order, each once}. Raises DataError, with the line, for
    other columns and for a frame that is no whole number of 0 or more, and where there is no
    row."""
    found: dict[str, set[int]] = {}
    for where, row in read_table(path, COLUMNS):
        frame = row["frame"]
        if not (frame.isascii() and frame.isdigit() and len(frame) < 12):
            raise DataError(
                f"{where}: frame {frame[:40]!r} of {row['name']!r}; expected a whole number of 0 or"
                " more"
            )
        found.setdefault(row["name"], set()).add(int(frame))
    if not found:
        raise DataError(f"{path}: no glance; expected a row a glance: {','.join(COLUMNS)}")
    table = Videos(path.name)
    for name, frames in found.items():
        table.add(str(path), name, np.array(sorted(frames), np.int64))
    return table


def of_training(path: Path, records: Any, indices: Sequence[int] | np.ndarray) -> Glances:
    """The glances of some videos of the training records (gfvad/data/features/opened.py).

    Glances of other videos (tested, held out, unknown) are left out and counted, and those of
    videos whose length is not known. Raises DataError where a video is normal, where a frame lies
    beyond its video, and where no name fits.
    """
    table = read_glances(path)
    here = Names("training videos")
    for i in map(int, indices):
        here.add(records.split, records.names[i], i)
    notes, units, lost = [], dict[int, np.ndarray](), list[str]()
    rows = {name: here[name] for name in here if name in table}
    other = matched(path.name, table, here, "videos with glances")
    for name, i in rows.items():
        video, frames, count = records.meta(i), table[name], int(records.lengths[i])
        if video.label < 1:
            raise DataError(
                f"{path}: {len(frames)} glances of {name!r}, which is a normal video; expected"
                " glances of abnormal videos alone: remove its rows, or correct its label"
            )
        if not length_known(video, count):
            lost.append(name)
            continue
        if frames[-1] >= video.num_frames:
            raise DataError(
                f"{path}: frame {frames[-1]:,} of {name!r}, which has {video.num_frames:,} frames;"
                " expected frames of the video, counted from 0: correct it, or its length"
            )
        units[i] = units_of(frames, video, count)
    told = sum(len(table[records.names[i]]) for i in units)
    notes.append(f"{told:,} glances in {len(units):,} training videos ({path.name})")
    if other:
        notes.append(f"{other}; they are not trained on")
    if lost:
        notes.append(f"{len(lost)} videos with glances have no known length: {some(lost)}")
    digest = lines_hash([f"{i} {u.tolist()}" for i, u in sorted(units.items())])[:16]
    return Glances(units, digest, tuple(notes))


def length_known(video: Any, units: int) -> bool:
    """False where a layout cuts videos into equal spans and had to suppose their length, a snippet
    a unit: then nobody knows which unit a frame is in."""
    return bool(video.unit_frames) or video.num_frames != units * SNIPPET


def units_of(frames: np.ndarray, video: Any, units: int) -> np.ndarray:
    """int64 [K]: the units of a video that frames [K] are in, each once, in order."""
    size = video.unit_frames or video.num_frames / units
    return np.unique(np.minimum(np.floor(frames / size).astype(np.int64), units - 1))


def marked(units: Units, glances: np.ndarray) -> np.ndarray:
    """float32 [N, 1]: 1 at the slots of an example that glances [K] (units of the whole video) fall
    in, else 0. A glance between two slots is the earlier one's; one before the first or after the
    last is in none."""
    found = np.zeros((len(units.mask), 1), np.float32)
    last = int(units.mask.sum()) - 1
    starts = units.start[: last + 1]
    slots = np.searchsorted(starts, glances, side="right") - 1
    # a slot reaches up to where the next one starts, the last to its own end
    inside = (slots >= 0) & ((slots < last) | (glances < units.stop[last]))
    found[slots[inside]] = 1.0
    return found
