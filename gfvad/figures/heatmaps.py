"""Pictures of a model that scores places: overlays of score maps, pages of frames, timelines by
term, use of experts. Rules as in figures.py.

Colours: scores run from dark to light in figures_model.VALUES and cover the frame more the higher
they are; the truth is ORANGE or, as a line over a frame, RED; terms take TERM_COLOURS in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gfvad.base.types import DataError
from gfvad.figures.curves import (
    BLACK,
    BLUE,
    GREEN,
    PURPLE,
    RED,
    SKY,
    new_figure,
    save,
    shade,
    shorten,
    style,
)
from gfvad.figures.model import VALUES
from gfvad.measure.frames import labels_from_spans
from gfvad.measure.map_cells import bilinear, cell_of

# of the highest score over the frame; it grows with the root of the score, so that middle scores
# are seen on grey
OPACITY = 0.75
CLEAR = 0.9  # share of the places of a video that stays clear under an overlay
TERM_COLOURS = (BLUE, GREEN, PURPLE, SKY)  # none of those of the truth


def rgb(frame: np.ndarray) -> np.ndarray:
    """uint8 [H, W], [H, W, 1] or [H, W, 3] -> uint8 [H, W, 3]; raises DataError for anything
    else."""
    frame = np.asarray(frame)
    frame = frame[..., None] if frame.ndim == 2 else frame
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (1, 3):
        raise DataError(
            f"frame: {frame.dtype} {frame.shape}, expected uint8 [H, W, 3] or [H, W, 1]"
        )
    return np.broadcast_to(frame, (*frame.shape[:2], 3))


def enlarge(values: np.ndarray, height: int, width: int, resize: str = "nearest") -> np.ndarray:
    """Map [h, w] -> [height, width] by a rule of pixel.py; 'nearest' takes any size."""
    if resize == "bilinear":
        return bilinear(values[None], height, width)[0]
    return values[cell_of(height, values.shape[0])][:, cell_of(width, values.shape[1])]


def overlay(
    frame: np.ndarray, values: np.ndarray, low: float, high: float, resize: str = "bilinear"
) -> np.ndarray:
    """Frame uint8 [H, W, 3 or 1] under its scores [h, w] -> uint8 [H, W, 3]: at `low` and below it
    is clear, at `high` it is OPACITY covered.

    resize: 'bilinear' to look at, 'nearest' to see the cells that metrics see. Raises DataError for
    another frame or high <= low.
    """
    frame = rgb(frame)
    if not high > low:
        raise DataError(f"overlay: scores from {low} to {high}, expected low < high")
    height, width = frame.shape[:2]
    values = enlarge(np.asarray(values, np.float64), height, width, resize)
    share = np.clip((values - low) / (high - low), 0, 1)  # [H, W]
    cover = OPACITY * np.sqrt(share)[..., None]
    mixed = (1 - cover) * frame + cover * 255 * colormaps[VALUES](share)[..., :3]
    return np.round(mixed).astype(np.uint8)


def limits_of(maps: np.ndarray, clear: float = 0.5) -> tuple[float, float]:
    """(quantile `clear`, 99.9 % quantile) of maps: the ends of their colours, without the few
    extreme places. Always low < high."""
    low, high = np.quantile(maps, [clear, 0.999])
    high = high if high > low else maps.max()
    return float(low), float(high if high > low else low + 1)


def pick_frames(scores: np.ndarray, labels: np.ndarray) -> dict[int, str]:
    """Frame -> why it is shown, in time order: the most and the least suspicious frame of either
    class. scores [T], labels bool [T]."""
    chosen: dict[int, str] = {}
    labels = np.asarray(labels, bool)
    for name, where in (("event", np.flatnonzero(labels)), ("normal", np.flatnonzero(~labels))):
        if len(where):
            chosen.setdefault(int(where[np.argmax(scores[where])]), f"{name}, highest score")
            chosen.setdefault(int(where[np.argmin(scores[where])]), f"{name}, lowest score")
    return dict(sorted(chosen.items()))


class ScoredFrames(NamedTuple):
    """What a model said of the frames of one video, or of a clip of it."""

    frames: Sequence[np.ndarray]  # T of uint8 [H, W, 3 or 1]
    maps: np.ndarray  # [T, h, w] of total scores
    scores: np.ndarray  # [T] of frames
    terms: Mapping[str, np.ndarray] = {}  # name -> its part: [T, h, w], or [T]
    limits: tuple[float, float] | None = None  # (low, high) of overlays; `limits_of` where None

    def require_equal_lengths(self, what: str, **more: int) -> None:
        """Raises DataError for no frame, and where there is not one of each a frame."""
        lengths = {"frames": len(self.frames), "scores": len(self.scores), **more}
        lengths |= {name: len(values) for name, values in self.terms.items()}
        wrong = {name: n for name, n in lengths.items() if n != len(self.maps)}
        if wrong or not len(self.maps):
            raise DataError(
                f"{what}: {len(self.maps)} maps and {wrong or 'nothing to draw'}; expected at"
                " least one frame and one of each a frame"
            )

    def ends(self) -> tuple[float, float]:
        """(low, high) of its overlays."""
        return self.limits or limits_of(self.maps, CLEAR)


def _picture(
    axes: Axes, image: np.ndarray, mask: np.ndarray | None, title: str, size: tuple[int, int], **how
) -> None:
    """Draws [H, W, 3] or values [h, w] over a frame of `size` pixels with the outline of the
    mask [H, W]."""
    extent = (0, size[1], size[0], 0)
    axes.imshow(image, extent=extent, interpolation="nearest", aspect="equal", **how)
    if mask is not None and mask.any() and not mask.all():
        # centres of the outermost pixels of the padded mask
        outer, padded = (-0.5, size[1] + 0.5, -0.5, size[0] + 0.5), np.pad(mask, 1).astype(float)
        axes.contour(padded, [0.5], colors=[RED], linewidths=1.6, extent=outer)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(0, size[1])
    axes.set_ylim(size[0], 0)


def heatmap_page(
    path: str | Path,
    clip: ScoredFrames,
    masks: np.ndarray | None,
    title: str,
    chosen: Mapping[int, str] | Sequence[int] | None = None,
) -> Path:
    """A row a chosen frame of one video: the frame with the outline of the truth, the overlay, and
    the map of every term.

    clip: terms of maps [T, h, w]; masks bool [T, H, W] or None; chosen: frames, or frame ->
    caption; `pick_frames` where None. Colours of a column are comparable between rows. Raises
    DataError where lengths differ or a chosen frame does not exist.
    """
    frames, maps, scores, terms, _ = clip
    total = len(maps)
    clip.require_equal_lengths(title, masks=total if masks is None else len(masks))
    labels = np.zeros(total, bool) if masks is None else np.any(np.asarray(masks, bool), (1, 2))
    chosen = pick_frames(np.asarray(scores), labels) if chosen is None else chosen
    chosen = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, "")
    if not chosen or not 0 <= min(chosen) <= max(chosen) < total:
        raise DataError(
            f"{title}: frames {list(chosen)} of {total}, expected at least one of 0 .. {total - 1}"
        )
    low, high = clip.ends()
    height, width = size = rgb(frames[0]).shape[:2]
    columns = 2 + len(terms)
    figure = new_figure(title, len(chosen) * (10 / columns * height / width + 0.45) + 1.0)
    ratios = [1] * len(chosen) + [0.06]
    grid = figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)
    for i, (t, why) in enumerate(chosen.items()):
        row, mask = grid[i], None if masks is None else np.asarray(masks[t], bool)
        _picture(row[0], rgb(frames[t]), mask, f"frame {t}\n{why}" if why else f"frame {t}", size)
        covered = overlay(frames[t], maps[t], low, high)
        _picture(row[1], covered, mask, f"score {scores[t]:.3g}", size)
        for axes, (name, values) in zip(row[2:], terms.items()):
            above, norm = shorten(name, 28) if i == 0 else "", Normalize(*limits_of(values))
            _picture(axes, values[t], mask, above, size, cmap=VALUES, norm=norm)
    _bar(figure, grid[-1, 1], low, high, "score of the place")
    for axes, values in zip(grid[-1, 2:], terms.values()):
        _bar(figure, axes, *limits_of(values), "value of the term")
    grid[-1, 0].axis("off")
    if np.take(labels, list(chosen)).any():
        grid[-1, 0].plot([], [], color=RED, linewidth=1.6, label="outline of the anomaly")
        grid[-1, 0].legend(fontsize=9, frameon=False, loc="upper left", borderaxespad=0)
    return save(figure, path)


def _bar(figure: Figure, axes: Axes, low: float, high: float, label: str) -> None:
    """Fills `axes`, flat and below a column, with the colours of its pictures."""
    drawn = ScalarMappable(Normalize(low, high), VALUES)
    bar = figure.colorbar(drawn, cax=axes, orientation="horizontal", extend="both")
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.locator_params(nbins=4)


def term_timeline(
    path: str | Path,
    name: str,
    total: np.ndarray,
    terms: Mapping[str, np.ndarray],
    spans: np.ndarray,
    fps: float,
) -> Path:
    """Frame score [T] of one video and below it each term's part in it, {name: [T]}, with the true
    spans [S, 2] shaded.

    The terms share one scale, so that a large part looks large. Beside each stands its share of the
    score's rise: (mean inside the spans less mean outside) of the term over that of the score. fps
    0: the axis is in frames. Raises DataError for lengths that differ.
    """
    total = np.asarray(total, np.float64)
    if wrong := {n: np.shape(v) for n, v in terms.items() if np.shape(v) != total.shape}:
        raise DataError(
            f"term timeline of {name!r}: terms {wrong}, expected {total.shape} as the score"
        )
    factor, xlabel = (1 / fps, "time (s)") if fps > 0 else (1.0, "time (frames)")
    edges, spans = np.arange(len(total) + 1) * factor, np.asarray(spans, np.int64).reshape(-1, 2)
    inside = labels_from_spans(spans, len(total)).astype(bool)
    both = inside.any() and not inside.all()
    rise = total[inside].mean() - total[~inside].mean() if both else 0.0
    title, ratios = f"{shorten(name)}: score and the part of each term", [1.6] + [1] * len(terms)
    figure = new_figure(title, 2.4 + 1.45 * len(terms) + 0.5)
    rows = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    values = np.concatenate([np.zeros(1), *(np.asarray(v, np.float64) for v in terms.values())])
    margin = 0.05 * (values.max() - values.min() or 1.0)
    for i, (axes, (label, part)) in enumerate(zip(rows, [("score", total), *terms.items()])):
        part = np.asarray(part, np.float64)
        shade(axes, spans, factor)
        colour = TERM_COLOURS[(i - 1) % len(TERM_COLOURS)] if i else BLACK
        legend = None if i else "score"
        axes.stairs(part, edges, baseline=None, color=colour, linewidth=1.6, label=legend)
        title = label if i else ""
        if i:
            axes.axhline(0, color="0.4", linewidth=0.8)
            axes.set_ylim(values.min() - margin, values.max() + margin)
        if i and rise:
            share = 100 * (part[inside].mean() - part[~inside].mean()) / rise
            title += f": {share:.0f} % of the score's rise in the event"
        style(axes, xlabel if i == len(terms) else "", "part" if i else "score", title)
    rows[0].set_xlim(0, edges[-1])
    rows[0].legend(fontsize=10, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path)
