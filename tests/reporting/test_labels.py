"""Labels beside points."""

from __future__ import annotations

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from bench.reporting.labels import Label, place_labels


def test_labels_of_close_points_cover_neither_each_other_nor_a_marker() -> None:
    figure = Figure(figsize=(4.6, 3.7))
    canvas = FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    spots = [(0.5 + 0.02 * place, 0.5 + 0.015 * (place % 3)) for place in range(6)]
    labels = [
        Label(text=f"method{place}", x=x, y=y, x_bar=(x, x), y_bar=(y, y), colour="black")
        for place, (x, y) in enumerate(spots)
    ]

    place_labels(ax, labels)
    canvas.draw()

    notes = [child for child in ax.get_children() if isinstance(child, Annotation)]
    boxes = [Text.get_window_extent(note) for note in notes]
    assert len(boxes) == 6
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert not any(box.contains(*ax.transData.transform(spot)) for box in boxes for spot in spots)
