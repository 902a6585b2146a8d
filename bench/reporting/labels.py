"""Place labels beside points so that they cover neither each other nor points nor bars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

__all__ = ["Label", "place_labels"]

_RADII = (8.0, 12.0, 17.0, 23.0, 30.0, 38.0, 47.0, 57.0, 68.0)  # points from a marker of 4.5 to the text
_ANGLES = (45, -45, 135, -135, 0, 180, 90, -90, 20, -20, 160, -160, 70, -70, 110, -110)  # degrees, best first
_LINE_FROM = 14.0  # points: from here on a thin line leads from the label to its point


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text that belongs to a point; all positions in data coordinates."""

    text: str
    x: float
    y: float
    x_bar: tuple[float, float]
    y_bar: tuple[float, float]
    colour: str
    radius: float = 4.5  # of the marker with its edge, points


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def covered(self, other: _Box) -> float:
        """Area shared with another box, pixels²."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)


def place_labels(
    ax: Axes, labels: Sequence[Label], *, lines: Sequence[tuple[float, float]] = (), fontsize: float = 8
) -> None:
    """Write labels into axes whose layout and limits are final.

    Each label takes the nearest free place around its point; if none is free, the one that covers
    least. The most crowded points choose first.

    Args:
        ax: where to write.
        labels: what to write.
        lines: corners of a line of horizontal and vertical pieces to keep clear of, data coordinates.
        fontsize: of the labels, points.
    """
    pixels = float(ax.figure.dpi) / 72
    taken = [box for label in labels for box in _obstacles(ax, label, pixels)]
    taken += _pieces([tuple(ax.transData.transform(corner)) for corner in lines], pixels)
    frame = _box(ax.get_window_extent())
    spots = {id(label): ax.transData.transform((label.x, label.y)) for label in labels}

    def crowding(label: Label) -> float:
        here = spots[id(label)]
        return sorted(math.dist(here, spots[id(other)]) for other in labels)[min(1, len(labels) - 1)]

    for label in sorted(labels, key=crowding):
        width, height = _extent(ax, label.text, fontsize)
        x, y = spots[id(label)]
        dx, dy, box = min(
            _candidates(float(x), float(y), width, height, pixels, label.radius),
            key=lambda place: _badness(place, taken, frame),
        )
        taken.append(box)
        has_line = _gap(dx, dy, box) > _LINE_FROM * pixels
        _write(ax, label, (dx / pixels, dy / pixels), fontsize, has_line)


def _candidates(
    x: float, y: float, width: float, height: float, pixels: float, marker: float
) -> Iterator[tuple[float, float, _Box]]:
    """Offsets of the text's centre from the point, with the box that it fills; pixels."""
    for radius in (gap + marker - 4.5 for gap in _RADII):
        for angle in _ANGLES:
            cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            dx = radius * pixels * cosine + math.copysign(width / 2, cosine) * (abs(cosine) > 0.1)
            dy = radius * pixels * sine + math.copysign(height / 2, sine) * (abs(sine) > 0.1)
            box = _Box(x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2)
            yield dx, dy, box


def _badness(place: tuple[float, float, _Box], taken: Sequence[_Box], frame: _Box) -> tuple[float, float]:
    dx, dy, box = place
    area = (box.right - box.left) * (box.top - box.bottom)
    outside = area - box.covered(frame)
    covered = sum(box.covered(other) for other in taken)
    gap = _gap(dx, dy, box)
    return (covered + 4 * outside if covered + outside > 1 else 0.0, gap)


def _obstacles(ax: Axes, label: Label, pixels: float) -> Iterator[_Box]:
    """The marker and the two bars of a point, in pixels."""
    x, y = (float(number) for number in ax.transData.transform((label.x, label.y)))
    margin = label.radius * pixels
    yield _Box(x - margin, y - margin, x + margin, y + margin)
    left, right = (float(ax.transData.transform((end, label.y))[0]) for end in label.x_bar)
    low, high = (float(ax.transData.transform((label.x, end))[1]) for end in label.y_bar)
    thin = 1.5 * pixels
    yield _Box(left, y - thin, right, y + thin)
    yield _Box(x - thin, low, x + thin, high)


def _pieces(corners: Sequence[Sequence[float]], pixels: float) -> list[_Box]:
    return [
        _Box(
            min(a[0], b[0]) - pixels,
            min(a[1], b[1]) - pixels,
            max(a[0], b[0]) + pixels,
            max(a[1], b[1]) + pixels,
        )
        for a, b in itertools.pairwise(corners)
    ]


def _extent(ax: Axes, text: str, fontsize: float) -> tuple[float, float]:
    trial = ax.text(0, 0, text, fontsize=fontsize, parse_math=False)
    extent: Bbox = trial.get_window_extent()
    trial.remove()
    return float(extent.width), float(extent.height)


def _write(ax: Axes, label: Label, offset: tuple[float, float], fontsize: float, has_line: bool) -> None:
    note = ax.annotate(
        label.text,
        (label.x, label.y),
        xytext=offset,
        textcoords="offset points",
        ha="center",
        va="center",
        multialignment="left",
        fontsize=fontsize,
        color=label.colour,
        parse_math=False,
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "lw": 0.5, "color": label.colour, "shrinkA": 1, "shrinkB": 3.5},
        zorder=4,
    )
    if note.arrow_patch is not None:
        note.arrow_patch.set_visible(has_line)


def _gap(dx: float, dy: float, box: _Box) -> float:
    """How far the edge of a text is from its point, pixels."""
    width, height = box.right - box.left, box.top - box.bottom
    return math.hypot(max(0.0, abs(dx) - width / 2), max(0.0, abs(dy) - height / 2))


def _box(bounds: Bbox) -> _Box:
    return _Box(float(bounds.x0), float(bounds.y0), float(bounds.x1), float(bounds.y1))
