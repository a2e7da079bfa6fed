"""How well the notes of a melody were heard: one recording against its truth, and many recordings in one set of figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mir_eval
import numpy as np
import numpy.typing as npt

from hemony.bells.notes import FLAGGED_CENTS, OFF_CENTS, Notes, Values
from hemony.metrics import calibration_error

Flags = npt.NDArray[np.bool_]

ONSET_WINDOW_S = 0.05
GROSS_CENTS = 20.0  # an estimate that is further from the truth is no measurement
RESAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class Judged:
    """One recording. Arrays are of its N true notes; a note that was not found is wrong in everything."""

    tune: str  # recordings of one tune are drawn together by the bootstrap
    found: Flags  # an onset within ONSET_WINDOW_S
    right: Flags  # and named as it was meant
    pitch_class_right: Flags
    off: Flags  # in truth by more than OFF_CENTS
    flagged: Flags  # in truth by more than FLAGGED_CENTS
    called: Flags  # heard as so far off
    confidence: Values  # that the name is right; 0 for notes that were not found
    deviation_error_cents: Values  # of the notes that are right, beside their median in this recording; NaN for the others
    spurious: int  # notes that are not there
    spurious_called: int  # of which so many are heard as off by more than FLAGGED_CENTS
    tuning_error_cents: float
    tuning_oracle_cents: float  # the error of one who knows every pitch, name and flag


def judge(truth: Notes, heard: Notes, tune: str = "") -> Judged:
    """One recording's notes beside the truth.

    A whole recording that is heard a semitone higher, with a tuning that is 100 cents lower, is the same answer. Deviations are compared
    after removing one offset a recording: the tuning can be no better known than the notes that are off let it be.
    """
    count = len(truth)
    turn = round((heard.tuning_cents - truth.tuning_cents) / 100)
    pairs = mir_eval.util.match_events(truth.onset_s, heard.onset_s, ONSET_WINDOW_S) if count and len(heard) else []
    there, here = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    found, right, pitch_class_right, called = (np.zeros(count, dtype=np.bool_) for _ in range(4))
    confidence, errors = np.zeros(count), np.full(count, np.nan)
    steps = heard.intended_midi[here] + turn - truth.intended_midi[there]
    found[there] = True
    right[there] = steps == 0
    pitch_class_right[there] = steps % 12 == 0
    called[there] = np.abs(heard.deviation_cents[here]) > FLAGGED_CENTS
    confidence[there] = heard.confidence[here]
    named = steps == 0
    errors[there[named]] = (heard.deviation_cents[here] - truth.deviation_cents[there])[named]
    if named.any():
        errors -= np.nanmedian(errors)
    unmatched = np.setdiff1d(np.arange(len(heard)), here)
    near = np.abs(truth.deviation_cents) <= FLAGGED_CENTS
    return Judged(
        tune=tune,
        found=found,
        right=right,
        pitch_class_right=pitch_class_right,
        off=np.abs(truth.deviation_cents) > OFF_CENTS,
        flagged=~near,
        called=called,
        confidence=confidence,
        deviation_error_cents=errors,
        spurious=len(unmatched),
        spurious_called=int((np.abs(heard.deviation_cents[unmatched]) > FLAGGED_CENTS).sum()),
        tuning_error_cents=abs(heard.tuning_cents - 100 * turn - truth.tuning_cents),
        tuning_oracle_cents=abs(float(truth.deviation_cents[near].mean())) if near.any() else 0.0,
    )


def figures(recordings: Sequence[Judged]) -> dict[str, float]:
    """All figures of some recordings, with fixed keys. Shares are of all true notes; one of nothing is NaN."""
    joined = {
        name: np.concatenate([getattr(recording, name) for recording in recordings])
        for name in "found right pitch_class_right off flagged called confidence deviation_error_cents".split()
    }
    found, right, off = joined["found"], joined["right"], joined["off"]
    spurious = sum(recording.spurious for recording in recordings)
    errors = np.abs(joined["deviation_error_cents"][right])
    hits = int((joined["flagged"] & joined["called"]).sum())
    calls = int(joined["called"].sum()) + sum(recording.spurious_called for recording in recordings)
    sure = np.clip(joined["confidence"][found], 0, 1)
    return {
        "recordings": len(recordings),
        "notes": len(found),
        "off_notes": int(off.sum()),
        "onset_f1": share(2 * int(found.sum()), 2 * int(found.sum()) + spurious + int((~found).sum())),
        "intended_clear": share(int(right[~off].sum()), int((~off).sum())),
        "intended_off": share(int(right[off].sum()), int(off.sum())),
        "pitch_class": share(int(joined["pitch_class_right"].sum()), len(found)),
        "octave": share(int(right.sum()), int(joined["pitch_class_right"].sum())),
        "deviation_median_cents": quantile(errors, 0.5),
        "deviation_p95_cents": quantile(errors, 0.95),
        "gross_share": share(int((errors > GROSS_CENTS).sum()), len(errors)),
        "flag_f1": share(2 * hits, calls + int(joined["flagged"].sum())),
        "tuning_median_cents": quantile(np.array([recording.tuning_error_cents for recording in recordings]), 0.5),
        "tuning_oracle_median_cents": quantile(np.array([recording.tuning_oracle_cents for recording in recordings]), 0.5),
        "ece": calibration_error(np.stack((sure, np.full(len(sure), -1.0)), axis=1), 1 - right[found].astype(np.int64))
        if len(sure)
        else float("nan"),
    }


def share(some: int, all_of_them: int) -> float:
    return some / all_of_them if all_of_them else float("nan")


def quantile(values: Values, place: float) -> float:
    return float(np.quantile(values, place)) if len(values) else float("nan")


def bootstrap(
    recordings: Sequence[Judged], figure: Callable[[Sequence[Judged]], float], seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of a figure when tunes are drawn anew, with all their recordings: another choice of tunes might have given that."""
    by_tune: dict[str, list[Judged]] = {}
    for recording in recordings:
        by_tune.setdefault(recording.tune, []).append(recording)
    groups = list(by_tune.values())
    draw = np.random.default_rng(seed)
    values = [
        figure([recording for place in draw.integers(len(groups), size=len(groups)) for recording in groups[place]])
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(values, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
