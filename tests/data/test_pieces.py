"""Pieces of long videos: evenly spread, inside their videos, and views of the same numbers."""

import numpy as np
import pytest

from gfvad.data.frames.pieces import Piece, spread_pieces


def test_short_sets_are_taken_whole():
    lengths = np.array([100, 40, 60])
    assert spread_pieces(lengths, [0, 2], 160) == [Piece(0, 0, 100), Piece(2, 0, 60)]
    assert spread_pieces(lengths, [], 160) == []


@pytest.mark.parametrize("lengths", [[18000, 18000], [5000, 300, 90, 12000], [260] * 40])
def test_pieces_of_long_videos(lengths):
    lengths = np.array(lengths)
    found = spread_pieces(lengths, range(len(lengths)), 2000, piece=250)
    assert 0 < len(found) <= 8 and len(set(found)) == len(found)
    for video, start, stop in found:
        assert 0 <= start < stop <= lengths[video]
        assert stop - start == min(250, lengths[video])
    assert found == sorted(found)
    # each video has its share
    share = np.array([sum(p.stop - p.start for p in found if p.video == v) for v in (0, 1)])
    if len(lengths) == 2:
        np.testing.assert_array_equal(share, [1000, 1000])
