"""Where units come from: how a set of videos lies on disk, and the feature sets of its units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.types import DataError
from gfvad.data import company
from gfvad.data.objects import features as object_features
from gfvad.data.objects.videos import open_labelled, open_videos
from gfvad.data.pictures import features as picture_features
from gfvad.data.pictures.videos import PictureSet, open_pictures
from gfvad.data.unit_videos import UnitVideos
from gfvad.data.units.clips import SETS as CLIP_SETS
from gfvad.data.units.clips import ClipSet, open_clips


class Found(NamedTuple):
    """A set that is there: nothing long was done yet."""

    train: Callable[[], UnitVideos]  # reads the normal videos
    test: Callable[[], UnitVideos] | None  # reads the labelled test split; None: there is none
    rule: str  # what decided the parts, in words


class Layout(NamedTuple):
    """One way that videos lie on disk."""

    sets: Mapping[str, Any]  # feature sets of its units
    find: Callable[[str, Path, Any], Found]  # (dataset, root, config.data)
    given: Callable[[str, Path, Any], UnitVideos]  # (dataset, path, config.data): to be scored


def find_tracks(dataset: str, root: Path, data: Any) -> Found:
    """Files of tracked boxes."""
    test = None
    if data.test:
        if not (root / data.test).exists():
            raise DataError(
                f"{root / data.test}: not found; expected the test split, with labels in"
                f" {root / data.labels}: give --config.data.test=NAME, or --config.data.test= to"
                " train on normal video alone, without an evaluation"
            )
        test = lambda: open_labelled(dataset, root / data.test, root / data.labels, data)
    train = lambda: open_videos(dataset, "train", root / data.train, data)
    return Found(train, test, f"{data.train} (training) and {data.test or 'none'} (test)")


def given_tracks(dataset: str, path: Path, data: Any) -> UnitVideos:
    """Tracks to score."""
    return open_videos(dataset, "test", path, data)


def find_pictures(dataset: str, root: Path, data: Any) -> Found:
    """Video files, or folders of images."""
    found = PictureSet(dataset, root, data)
    return Found(found.open_train, found.open_test if found.labelled else None, found.rule)


def find_clips(dataset: str, root: Path, data: Any) -> Found:
    """A folder of features of one's own."""
    found = ClipSet(dataset, root, data)
    return Found(found.open_train, found.open_test if found.test else None, found.rule)


AMONG = dict.fromkeys(company.SETS)  # relations to the other units of a frame
LAYOUTS: Mapping[str, Layout] = {
    "tracks": Layout({**object_features.SETS, **AMONG}, find_tracks, given_tracks),
    "pictures": Layout(
        {**picture_features.SETS, **picture_features.MOVING, **AMONG}, find_pictures, open_pictures
    ),
    "features": Layout(dict.fromkeys(CLIP_SETS), find_clips, open_clips),
}
SETS = {name: layout for layout in LAYOUTS for name in LAYOUTS[layout].sets}
