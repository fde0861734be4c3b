"""Ground truths that published scores are held against, told by how many frames they have."""

from __future__ import annotations

from typing import NamedTuple

from gfvad.data.ground_truth import (
    PED2_POSITIVE,
    PED2_TOTAL,
    SHANGHAI_TOTALS,
    SNIPPET,
    UCF_TOTAL_1024,
    UCF_TOTAL_2048,
    XD_POSITIVE,
    XD_TOTAL,
)

SHANGHAI_WEAK = "ShanghaiTech, weak split, 199 videos"


class Known(NamedTuple):
    """A ground truth in use."""

    frames: int
    positive: int | None  # abnormal frames; None where we do not know them
    title: str


KNOWN = (
    Known(XD_TOTAL, XD_POSITIVE, "XD-Violence, 800 videos, (n - 1) // 16 snippets"),
    Known(UCF_TOTAL_2048, None, "UCF-Crime, 290 videos, snippets counted up (2048-d features)"),
    Known(1_109_824, None, "UCF-Crime, 290 videos, snippets counted down"),
    Known(UCF_TOTAL_1024, None, "UCF-Crime, 290 videos, as published with 1024-d features"),
    Known(1_111_808, None, "UCF-Crime, 290 videos, every frame"),
    *(Known(total, None, SHANGHAI_WEAK) for total in SHANGHAI_TOTALS),
    Known(140_704, None, "ShanghaiTech, weak split, 199 videos (TEVAD's score file)"),
    Known(40_791, None, "ShanghaiTech, 107 videos"),
    Known(PED2_TOTAL, PED2_POSITIVE, "Ped2, weak split, 18 videos, snippets counted up"),
    Known(2_010, 1_648, "Ped2, 12 videos"),
    Known(1_830, None, "Ped2, 12 videos, clips of 16 frames"),
    Known(15_324, None, "Avenue, 21 videos"),
    Known(15_009, None, "Avenue, 21 videos, clips of 16 frames"),
    Known(146_410, None, "Street Scene, 35 videos"),
)


def of_frames(frames: int, positive: int | None = None) -> list[Known]:
    """Those of so many frames, and of so many abnormal ones where both are known."""
    fits = lambda k: positive is None or k.positive in (None, positive)
    return [k for k in KNOWN if k.frames == frames and fits(k)]


def of_entries(entries: int) -> str:
    """'145,649 scores: with 16 frames each 2,330,384 frames, XD-Violence, ...', which known ones so
    many scores fit."""
    fits = [(unit, k) for unit in (1, SNIPPET) for k in of_frames(entries * unit)]
    if not fits:
        return f"{entries:,} scores fit no ground truth that is known by its length"
    told = "; or ".join(
        f"{'one a frame' if unit == 1 else f'{unit} frames each'}, {k.frames:,} frames: {k.title}"
        for unit, k in fits
    )
    return f"{entries:,} scores: {told}"


def told(frames: int, positive: int) -> str:
    """Which known ground truth a labelled set is."""
    if found := of_frames(frames, positive):
        return f"the length of {found[0].title}"
    if other := of_frames(frames):
        return (
            f"as long as {other[0].title}, but {positive:,} abnormal frames in the place of"
            f" {other[0].positive:,}: not that ground truth"
        )
    return "none of the ground truths that are known by their length"
