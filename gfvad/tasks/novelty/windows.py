"""Windows along tracks: a unit with those before and after it of the same track (or place), which
is what a comparator sees of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gfvad.data.objects.tracks import Tracks


class Series(NamedTuple):
    """Of each unit the half-open range of rows that its track has, int64 [n] each."""

    first: np.ndarray
    last: np.ndarray

    def of(self, rows: np.ndarray) -> Series:
        """Of some units alone."""
        return Series(self.first[rows], self.last[rows])


def series_of(tracks: Tracks, start: int = 0) -> Series:
    """Of the units of a video, which are sorted by track and frame. start: row of the first."""
    person = tracks.person
    first = np.searchsorted(person, person)
    return Series(first + start, np.searchsorted(person, person, side="right") + start)


def window_rows(
    rows: np.ndarray, series: Series, length: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [n, W] rows of the windows of some units, bool [n, W] which of them there are).

    The unit itself is at W // 2; the others lie `stride` units of its track apart. A row that would
    lie outside the track is that of its end, and masked.
    Args: rows: int64 [n]; series: of these units; length: W.
    """
    wanted = rows[:, None] + (np.arange(length) - length // 2) * stride
    mask = (wanted >= series.first[:, None]) & (wanted < series.last[:, None])
    return np.clip(wanted, series.first[:, None], series.last[:, None] - 1), mask
