"""Small charts as SVG text: crisp at any size, in the page's own colours, readable by a screen reader."""

import base64
import io
import math
import wave
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hemony.metrics import Bin

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 14, 42
Point = tuple[float, float]
HEAT = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))  # from silence to the loudest, even to the eye


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    span = (high - low) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1e4 else f"{value:,.0f}"


def power_of_ten(exponent: float) -> str:
    value = 10.0**exponent
    return number(value) if 1e-2 <= value < 1e4 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


class Frame:
    """The axes of a chart, and where a value lies on them."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], x_label: str, y_label: str, title: str, power: bool = False
    ) -> None:
        """`power`: the values are logarithms to base 10, and the ticks say of what."""
        self.x, self.y = x, y
        say = power_of_ten if power else number
        self.parts = [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        ]
        for tick in ticks(*y):
            at = self.at(x[0], tick)[1]
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            self.parts.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{say(tick)}</text>')
        for tick in ticks(*x):
            at = self.at(tick, y[0])[0]
            self.parts.append(f'<text class="tick" x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{say(tick)}</text>')
        middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
        self.parts.append(f'<text class="label" x="{middle_x}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
        self.parts.append(
            f'<text class="label" transform="translate(12 {middle_y}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )

    def at(self, x: float, y: float) -> Point:
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return LEFT + across * width, TOP + (1 - up) * height

    def line(self, points: Sequence[Point], kind: str) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self.parts.append(f'<polyline class="{kind}" points="{path}"/>')

    def bar(self, x0: float, x1: float, y: float, kind: str, words: str) -> None:
        (left, top), (right, bottom) = self.at(x0, y), self.at(x1, self.y[0])
        self.parts.append(
            f'<rect class="{kind}" x="{left + 1:.1f}" y="{top:.1f}" width="{max(right - left - 2, 1):.1f}" '
            f'height="{max(bottom - top, 0):.1f}"><title>{escape(words)}</title></rect>'
        )

    def dot(self, x: float, y: float, kind: str, words: str) -> None:
        across, down = self.at(x, y)
        self.parts.append(
            f'<circle class="dot {kind}" cx="{across:.1f}" cy="{down:.1f}" r="4"><title>{escape(words)}</title></circle>'
        )

    def svg(self) -> str:
        return "".join(self.parts) + "</svg>"


def curves(
    series: dict[str, list[Point]], x_label: str, y_label: str, title: str, from_zero: bool = False, power: bool = False
) -> str:
    """Lines over a common axis, told apart by the classes `first`, `second`, ... and a legend. `power`: see Frame."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = (0.0 if from_zero else min(ys)), max(ys)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.1
    frame = Frame((min(xs), max(xs)), (low if from_zero else low - margin, high + margin), x_label, y_label, title, power)
    for (name, line), kind in zip(series.items(), ("first", "second", "third"), strict=False):
        frame.line(line, kind)
        frame.parts.append(f"<!-- {escape(name)} -->")
    return legend(list(series)) + frame.svg()


def legend(names: list[str]) -> str:
    if len(names) < 2:
        return ""
    marks = zip(names, ("first", "second", "third"), strict=False)
    return '<p class="legend">' + "".join(f'<span class="{kind}">{escape(name)}</span>' for name, kind in marks) + "</p>"


def reliability_chart(bins: Sequence[Bin], title: str) -> str:
    """Accuracy over confidence, beside the diagonal on which they agree."""
    frame = Frame((0, 1), (0, 1), "confidence", "accuracy", title)
    frame.line([(0, 0), (1, 1)], "diagonal")
    for bin in bins:
        words = f"{bin.count} predictions at {bin.low:.2f} to {bin.high:.2f}: {bin.accuracy:.1%} right"
        frame.bar(bin.low, bin.high, bin.accuracy, "bar", words)
    return frame.svg()


def interval(value: float, low: float, high: float) -> str:
    """A share with its interval, on a scale that shows the interval's width."""
    floor = max(0.0, low - 3 * (high - low) - 0.005)

    def place(share: float) -> float:
        return 100 * (share - floor) / (1 - floor or 1)

    words = f"{value:.2%}, 95 % interval {low:.2%} to {high:.2%}"
    return (
        f'<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{words}"><title>{words}</title>'
        f'<rect class="track" y="4" width="100" height="2"/>'
        f'<rect class="range" x="{place(low):.2f}" y="2.5" width="{max(place(high) - place(low), 0.5):.2f}" height="5"/>'
        f'<rect class="value" x="{place(value) - 0.4:.2f}" y="0" width="0.8" height="10"/></svg>'
        f'<p class="scale"><span>{floor:.1%}</span><span>100 %</span></p>'
    )


def heat_map(counts: npt.NDArray[np.int64], names: list[str], title: str) -> str:
    """A confusion matrix: a row a true class, shaded by its share of the row."""
    classes = len(names)
    cell = 34 if classes <= 12 else max(5, 480 // classes)
    room = 96 if classes <= 40 else 6
    size = room + classes * cell
    wide = size + (room // 2 if classes <= 40 else 0)  # the last slanting name
    parts = [f'<svg class="heat" viewBox="0 0 {wide} {size}" style="max-width:{wide}px" role="img" aria-label="{escape(title)}">']
    parts.append(f"<title>{escape(title)}</title>")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row in range(classes):
        for column in range(classes):
            count = int(counts[row, column])
            if not count and classes > 40:
                continue
            kind = "right" if row == column else "wrong"
            strength = (
                float(shares[row, column]) if row == column else min(1.0, 0.25 + 3 * float(shares[row, column])) if count else 0
            )
            x, y = room + column * cell, room + row * cell
            words = escape(f"{names[row]} called {names[column]}: {count}")
            parts.append(
                f'<rect class="{kind}" x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill-opacity="{strength:.2f}">'
                f"<title>{words}</title></rect>"
            )
            if classes <= 12 and count:
                parts.append(
                    f'<text class="count" x="{x + cell / 2 - 0.5}" y="{y + cell / 2 + 4}" text-anchor="middle">{count}</text>'
                )
    if classes <= 40:
        for place, name in enumerate(names):
            at = room + place * cell + cell / 2
            short = escape(name if len(name) <= 13 else name[:12] + "…")
            parts.append(f'<text class="name" x="{room - 5}" y="{at + 4}" text-anchor="end">{short}</text>')
            parts.append(f'<text class="name" transform="translate({at + 4} {room - 5}) rotate(-60)">{short}</text>')
    return "".join(parts) + "</svg>"


def picture(pixels: npt.NDArray[np.uint8], words: str, shown_px: int = 112) -> str:
    """An image (H, W, C) as an inline PNG; small ones keep their pixels."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if max(image.size) > 2 * shown_px:
        image.thumbnail((2 * shown_px, 2 * shown_px))
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    data = base64.b64encode(content.getvalue()).decode()
    kind = "pixels" if max(image.size) < shown_px else ""
    return f'<img class="{kind}" alt="{escape(words)}" src="data:image/png;base64,{data}">'


def player(samples: npt.NDArray[np.int16], sample_rate_hz: int, words: str) -> str:
    """A clip (samples,) as its spectrogram, with a button to hear it."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    data = base64.b64encode(sound.getvalue()).decode()
    return (
        f"{picture(spectrogram(samples, sample_rate_hz), words)}"
        f'<audio controls preload="none" aria-label="{escape(words)}" src="data:audio/wav;base64,{data}"></audio>'
    )


def spectrogram(samples: npt.NDArray[np.int16], sample_rate_hz: int, height: int = 96, width: int = 192) -> npt.NDArray[np.uint8]:
    """A picture (height, width, 3) of power in dB over time and mel frequency, low tones at the bottom, 60 dB from black to white."""
    window = 2 ** round(math.log2(0.032 * sample_rate_hz))
    padded = np.pad(samples / 32768, window // 2)
    starts = np.linspace(0, max(len(padded) - window, 0), width).astype(int)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, 4 * window)) ** 2  # (width, bins)
    top_mel = 2595 * math.log10(1 + sample_rate_hz / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, height + 1) / 2595) - 1)
    edges = np.minimum(np.round(edges_hz / sample_rate_hz * 4 * window).astype(int), power.shape[1] - 1)
    bands = np.stack([power[:, low : max(high, low + 1)].mean(axis=1) for low, high in pairwise(edges.tolist())])
    level_db = 10 * np.log10(bands + 1e-12)
    shade = np.clip((level_db - level_db.max()) / 60 + 1, 0, 1)
    places = np.linspace(0, 1, len(HEAT))
    coloured = np.stack([np.interp(shade[::-1], places, channel) for channel in zip(*HEAT, strict=True)], axis=-1)
    pixels: npt.NDArray[np.uint8] = np.rint(coloured).astype(np.uint8)
    return pixels
