"""Which notes were struck on the same bell, and what their partials say together.

A bell's partials stand in the same ratios at every stroke, however far the note was moved as a whole, and bells differ in those ratios by
much more than a measurement errs. So strokes on one bell share what is hard to measure at one of them, above all how far the mean of two
beating modes lies from the louder one.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hemony.bells.notes import Values
from hemony.bells.synth import BellTable
from hemony.bells.tuning import cents_between, shifted

NOT_FOUND_CENTS = 1e3  # the error of what was not measured
LEAST_ERROR_CENTS = 0.05
ERROR_FACTOR = 2.0  # of an error that takes what is left for white noise
STROKES_CENTS = 1.0  # that a partial may differ between two strokes, beyond its errors
OUTLIERS = 0.2  # of the partials of strokes on one bell that are no more alike than those of two bells
EVIDENCE = 6.5  # natural logarithm of the odds at which two strokes are of one bell: a stroke is compared with many
ONE_PITCH_CENTS, FARTHEST_CENTS = 30.0, 230.0  # two strokes on one bell are mostly so near, and never so far from each other
NEAR_EVIDENCE, FAR_EVIDENCE = 2.0, -1.0
TURNS = 12
DOUBT_CENTS = 8.0  # from the note's own strike pitch: the bells may have been taken for one


@dataclass(frozen=True)
class Measured:
    """Cents (N, P) of partials beside where each note's would be in a bell as in the table, and the errors of those."""

    cents: Values
    error: Values
    spread: Values  # (P,): of bells


def measured(frequency_hz: Values, error_hz: Values, rough_hz: Values, table: BellTable) -> Measured:
    """Of frequencies (N, P) and strike pitches (N,)."""
    expected_hz = rough_hz[:, None] * np.array([partial.ratio for partial in table.partials])
    found = np.isfinite(frequency_hz)
    error = np.hypot(ERROR_FACTOR * 1200 / math.log(2) * error_hz / expected_hz, LEAST_ERROR_CENTS)
    return Measured(
        cents_between(expected_hz, np.where(found, frequency_hz, expected_hz)),
        np.where(found, error, NOT_FOUND_CENTS),
        np.array([partial.spread_cents for partial in table.partials]),
    )


def strike_together(strike_hz: Values, frequency_hz: Values, error_hz: Values, rough_hz: Values, table: BellTable) -> Values:
    """Strike pitches (N,), those of bells that were struck more than once by the partials (N, P) of all their strokes."""
    partials = measured(frequency_hz, error_hz, rough_hz, table)
    bell = bells(partials, rough_hz)
    pitch, offset = pooled(partials, bell)
    own = np.array([1200 * math.log2(table.partials[index].ratio * factor) for index, factor in table.anchors])
    anchors = offset[:, [index for index, _ in table.anchors]] + own
    together_hz = shifted(rough_hz, pitch + np.median(anchors, axis=1))
    several = np.bincount(bell, minlength=len(bell))[bell] > 1
    near = np.abs(cents_between(strike_hz, together_hz)) < DOUBT_CENTS
    return np.where(several & near, together_hz, strike_hz)


def bells(partials: Measured, rough_hz: Values) -> npt.NDArray[np.int64]:
    """(N,): numbers of bells. A stroke is on the bell of the earlier one that it is most like, if it is enough."""
    cents, error, spread = partials.cents, partials.error, partials.spread
    bell = np.arange(len(cents))
    for note in range(1, len(cents)):
        apart = cents[note] - cents[:note]  # (earlier, P)
        sd = np.sqrt(error[note] ** 2 + error[:note] ** 2 + STROKES_CENTS**2)
        differ = np.sqrt(2 * spread**2 + sd**2)
        moved = weighted_median(apart, 1 / sd)
        rest = apart - moved[:, None]
        likelier = np.log((1 - OUTLIERS) * differ / sd) + ((rest / differ) ** 2 - (rest / sd) ** 2) / 2  # than on another bell
        evidence = np.logaddexp(likelier, math.log(OUTLIERS)).sum(axis=1)
        far = np.abs(cents_between(rough_hz[:note], rough_hz[note]) + moved)
        evidence += np.where(far < ONE_PITCH_CENTS, NEAR_EVIDENCE, np.where(far < FARTHEST_CENTS, FAR_EVIDENCE, -np.inf))
        likest = int(evidence.argmax())
        if evidence[likest] > EVIDENCE:
            bell[note] = bell[likest]
    return bell


def pooled(partials: Measured, bell: npt.NDArray[np.int64]) -> tuple[Values, Values]:
    """The pitch of each note (N,) and its bell's partials beside it (N, P), in cents, that explain all partials; outliers count little.

    By least squares that is weighted anew each turn, with weights as of a Student distribution.
    """
    cents, error, spread = partials.cents, partials.error, partials.spread
    numbers, which = np.unique(bell, return_inverse=True)
    strokes = (which == np.arange(len(numbers))[:, None]).astype(np.float64)  # (bells, N)
    pitch = weighted_median(cents, 1 / (error + spread))
    weight, offset = 1 / (error**2 + 1), np.zeros_like(cents)
    for _ in range(TURNS):
        sums = strokes @ weight + 1 / (spread**2 + 1)
        offset = (strokes @ (weight * (cents - pitch[:, None])) / sums)[which]
        pitch = (weight * (cents - offset)).sum(axis=1) / weight.sum(axis=1)
        weight = 1 / (error**2 + (cents - offset - pitch[:, None]) ** 2 / 2)
    return pitch, offset


def weighted_median(values: Values, weight: Values) -> Values:
    """Along the last axis."""
    order = np.argsort(values, axis=-1)
    below = np.cumsum(np.take_along_axis(weight, order, axis=-1), axis=-1)
    place = (below < below[..., -1:] / 2).sum(axis=-1, keepdims=True)
    median: Values = np.take_along_axis(np.take_along_axis(values, order, axis=-1), place, axis=-1)[..., 0]
    return median
