"""What `hemony correct` found and did, to look at and to listen to."""

import base64
import io
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from hemony.bells.notes import FLAGGED_CENTS, Notes, Values
from hemony.bells.tuning import hz_to_midi, midi_to_hz, note_name
from hemony.report import section, table, whole

SECONDS_AN_INCH = 2.5
WINDOW_S = 0.1  # of the spectrogram
DEEPEST_DB = 70.0
OCTAVES_AROUND = 1  # of the spectrogram below the lowest and above the highest note
WRONG, NEAR, MEANT = "#f0955a", "#98a4ae", "#4cc2d4"
LISTEN_RATE_HZ = 32_000


NOTHING = "No melody on bells is to be heard."


def picture(mono: Values, sample_rate_hz: int, notes: Notes, off: Values, moves: Values) -> bytes:
    """A PNG: the spectrogram with the notes on it, the notes as they sound and as they are meant, and how far each is off.

    `mono` is (samples,); `off` and `moves` (N,) are in cents.
    """
    from matplotlib.figure import Figure

    duration_s = len(mono) / sample_rate_hz
    width = float(np.clip(duration_s / SECONDS_AN_INCH, 8, 40))
    figure = Figure(figsize=(width, 9.5), layout="constrained", dpi=100)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.6))
    ends_s = np.append(notes.onset_s[1:], min(duration_s, notes.onset_s[-1] + 1.0)) if len(notes) else np.zeros(0)
    sounding = notes.intended_midi + off / 100
    colours = [WRONG if move else NEAR for move in moves]
    low, high = (float(sounding.min()), float(sounding.max())) if len(notes) else (60.0, 84.0)
    edges_midi = np.arange(low - 12 * OCTAVES_AROUND, high + 12 * (OCTAVES_AROUND + 1), 0.25)
    levels_db = log_spectrogram(mono, sample_rate_hz, midi_to_hz(edges_midi))
    top.imshow(
        levels_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-DEEPEST_DB,
        vmax=0,
        extent=(0, duration_s, edges_midi[0], edges_midi[-1]),
    )
    heard_midi = hz_to_midi(notes.strike_hz)
    top.hlines(heard_midi, notes.onset_s, ends_s, colors="white", linewidth=1.6)
    top.set_ylabel("strike note and partials, MIDI")
    top.set_title("What is heard: the spectrogram, with the strike note of every bell in white", loc="left", fontsize=10)
    middle.hlines(notes.intended_midi, notes.onset_s, ends_s, colors=MEANT, linewidth=5, alpha=0.55, label="as it is meant")
    middle.hlines(sounding, notes.onset_s, ends_s, colors=colours, linewidth=2.5, label="as it sounds")
    middle.vlines(notes.onset_s[moves != 0], notes.intended_midi[moves != 0], sounding[moves != 0], colors=WRONG, linewidth=1)
    lines = np.arange(np.floor(low), np.ceil(high) + 1).astype(int)
    middle.set_ylim(low - 1, high + 1)
    if not len(notes):
        middle.text(duration_s / 2, (low + high) / 2, NOTHING, ha="center", va="center")
    middle.set_yticks(lines, [note_name(int(midi)) for midi in lines])
    middle.grid(axis="y", linewidth=0.3)
    middle.set_ylabel("note")
    middle.set_title(
        "What is meant: each note where it belongs (blue) and where it sounds (orange: it is moved)", loc="left", fontsize=10
    )
    bottom.axhspan(-FLAGGED_CENTS, FLAGGED_CENTS, color=NEAR, alpha=0.15)
    bottom.vlines(notes.onset_s, 0, off, colors=colours, linewidth=2)
    bottom.plot(notes.onset_s, off + moves, ".", color=MEANT, markersize=4)
    bottom.axhline(0, color=NEAR, linewidth=0.8)
    bottom.set_ylabel("cents off")
    bottom.set_xlabel("time, s")
    bottom.set_title(
        f"How far each note is off, and what is left of it (blue); within {FLAGGED_CENTS:g} cents lies the grey band",
        loc="left",
        fontsize=10,
    )
    bottom.set_xlim(0, duration_s)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def log_spectrogram(mono: Values, sample_rate_hz: int, edges_hz: Values) -> Values:
    """Levels (bands, frames) in dB beside the loudest, of bands between edges (bands + 1,)."""
    window = round(WINDOW_S * sample_rate_hz)
    starts = np.arange(0, max(len(mono) - window, 1), max(1, window // 4))
    padded = np.pad(mono, (0, window))
    size = 4 * window
    centres = np.clip(np.round(np.sqrt(edges_hz[1:] * edges_hz[:-1]) / sample_rate_hz * size).astype(int), 0, size // 2)
    shape = np.hanning(window)
    power = np.stack([np.abs(np.fft.rfft(padded[start : start + window] * shape, size)[centres]) ** 2 for start in starts], axis=1)
    levels: Values = 10 * np.log10(power / max(float(power.max()), 1e-20) + 1e-12)
    return levels


def page(
    name: str,
    waves: npt.NDArray[np.float32],
    tuned: npt.NDArray[np.float32],
    rate_hz: int,
    drawn: bytes,
    rows: list[dict[str, Any]],
) -> str:
    """One HTML page that needs nothing else: both recordings, the picture, and the table of what was wrong."""
    moved = sum(1 for row in rows if row["moved_cents"])
    image = base64.b64encode(drawn).decode()
    players = [
        f"<h3>{words}</h3>{audio(sound, rate_hz, words)}"
        for words, sound in (("As it was played", waves), ("As it was meant", tuned))
    ]
    lines = [
        (
            f"{row['onset_s']:.3f}",
            row["note"],
            f"{row['deviation_cents']:+.1f}",
            f"{row['confidence']:.2f}",
            f"{row['moved_cents']:+.1f}",
        )
        for row in rows
        if row["moved_cents"]
    ]
    body = (
        f"<h1>{escape(name)}</h1><p>{len(rows)} notes, {moved} of them put right.</p>"
        + section("Listen", "The same strikes, the same decay; only the notes that were wrong are moved.", *players)
        + section(
            "Look",
            "Orange is where a wrong note sounds, blue where it belongs.",
            f'<div class="scroll" style="max-height:none"><img alt="the notes of {escape(name)} over its spectrogram" '
            f'style="width:auto;max-width:none;height:720px" src="data:image/png;base64,{image}"></div>',
        )
        + section(
            "What was wrong",
            "Every note that was moved." if rows else NOTHING,
            table(("onset, s", "meant", "cents off", "confidence", "moved by"), lines),
        )
    )
    return whole(name, body)


def audio(waves: npt.NDArray[np.float32], rate_hz: int, words: str) -> str:
    """A player for a recording (samples, channels), mono, as FLAC of 16 bits."""
    import soxr

    mono = waves.mean(axis=1)
    if rate_hz > LISTEN_RATE_HZ:
        mono, rate_hz = soxr.resample(mono, rate_hz, LISTEN_RATE_HZ), LISTEN_RATE_HZ
    content = io.BytesIO()
    soundfile.write(content, np.clip(mono, -1, 1), rate_hz, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(content.getvalue()).decode()
    return f'<audio controls preload="none" aria-label="{escape(words)}" src="data:audio/flac;base64,{data}"></audio>'
