"""The classical way to hear a bell: its spectrum, less what rang before, laid against the table of partials. What there is to beat."""

import numpy as np

from hemony.bells.grid import grid_cents
from hemony.bells.notes import Values
from hemony.bells.synth import TABLES, BellKind
from hemony.bells.tunes import Score
from hemony.bells.tuning import hz_to_midi, midi_to_hz

WINDOW_S, AFTER_S = 0.17, 0.02
STEP_CENTS = 10.0
NEAR_CENTS = 40.0  # about a partial's place, where its peak is sought
FLOOR_DB = -60.0


def pitches(wave: Values, rate_hz: int, onset_s: Values, kind: BellKind) -> Values:
    """Strike notes (N,), MIDI with fractions, of strikes whose onsets and whose kind of bell are given."""
    table = TABLES[kind]
    tried = np.arange(table.lowest_midi - 8, table.highest_midi + 8, STEP_CENTS / 100)
    window = round(WINDOW_S * rate_hz)
    size = 4 * 2 ** int(np.ceil(np.log2(window)))
    padded = np.pad(wave, (window, 2 * window))
    shape = np.hanning(window)

    def magnitudes(start: int) -> Values:
        spectrum: Values = np.abs(np.fft.rfft(padded[start + window : start + 2 * window] * shape, size))
        return spectrum

    found = []
    for onset in np.round(onset_s * rate_hz).astype(int):
        before, after = magnitudes(onset - window), magnitudes(onset + round(AFTER_S * rate_hz))
        fresh = np.maximum(after - before, 1e-9)
        level_db = np.maximum(20 * np.log10(fresh / fresh.max()), FLOOR_DB) - FLOOR_DB
        score = np.zeros(len(tried))
        for partial in table.partials:
            hz = midi_to_hz(tried) * partial.ratio
            expected_db = np.interp(tried, (table.lowest_midi, table.highest_midi), partial.level_db)
            inside = hz < 0.98 * rate_hz / 2
            bins = np.where(inside, hz, 0) / rate_hz * size
            score += inside * np.interp(bins, np.arange(len(level_db)), level_db) * 10 ** (expected_db / 40)
        best_hz = float(midi_to_hz(float(tried[score.argmax()])))
        anchors = [
            peak_hz(fresh, best_hz * table.partials[place].ratio, rate_hz / size) * factor for place, factor in table.anchors
        ]
        found.append(hz_to_midi(float(np.median(anchors))))
    return np.array(found)


def peak_hz(magnitude: Values, about_hz: float, bin_hz: float) -> float:
    """Where the spectrum peaks near a frequency, between bins by a parabola through the logarithms."""
    low, high = (round(about_hz * 2 ** (side * NEAR_CENTS / 1200) / bin_hz) for side in (-1, 1))
    low, high = max(1, low), min(len(magnitude) - 2, max(high, low + 1))
    if low >= high:
        return about_hz
    top = low + int(magnitude[low : high + 1].argmax())
    left, middle, right = np.log(magnitude[top - 1 : top + 2])
    curve = left - 2 * middle + right
    return float((top + (0.5 * (left - right) / curve if curve < 0 else 0.0)) * bin_hz)


def snapped(score: Score, midi: Values) -> tuple[Values, float]:
    """The nearest notes of the scale (N,), its key given, and the tuning in cents: what one does who knows the key, but not the tune."""
    tuning_cents = grid_cents(midi)
    notes = np.array([note for note in range(128) if (note - score.tonic) % 12 in score.scale])
    off = np.abs(midi[:, None] - tuning_cents / 100 - notes)
    # near the middle between two semitones the grid may be named by either: take the one that fits the key
    turn = 100 * float(np.sign(-tuning_cents or 1.0))
    other = np.abs(midi[:, None] - (tuning_cents + turn) / 100 - notes)
    if off.min(axis=1).mean() > other.min(axis=1).mean() + 0.2:
        off, tuning_cents = other, tuning_cents + turn
    return notes[off.argmin(axis=1)].astype(np.float64), tuning_cents
