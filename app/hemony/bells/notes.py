"""The notes of a melody on bells: when each begins, what was meant, how far off it is; and the file that says so."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hemony import durable
from hemony.bells.tuning import A4_HZ, midi_to_hz, shifted
from hemony.errors import InputError
from hemony.media.files import shown

Values = npt.NDArray[np.float64]
FLAGGED_CENTS = 25.0  # a note that is further off is to be found
OFF_CENTS = 50.0  # a note that is further off is nearer to another semitone than to its own
KEYS = ("onset_s", "intended_midi", "deviation_cents", "confidence", "level_db")


@dataclass(frozen=True)
class Notes:
    """N melody notes in the order of their onsets. Each array is float64 (N,), but for `intended_midi`, int64 (N,).

    A note is heard at `a4_hz` * 2 ** ((intended_midi - 69) / 12 + (deviation_cents + tuning_cents) / 1200): positive is sharp.
    """

    onset_s: Values
    intended_midi: npt.NDArray[np.int64]
    deviation_cents: Values
    confidence: Values  # that `intended_midi` is what was meant, 0 to 1
    level_db: Values  # power of the partials at the strike, beside a sample of full scale
    tuning_cents: float  # of the recording beside `a4_hz`, -50 to 50
    a4_hz: float = A4_HZ

    def __len__(self) -> int:
        return len(self.onset_s)

    @property
    def strike_hz(self) -> Values:
        """(N,): where each note is heard."""
        return shifted(midi_to_hz(self.intended_midi, self.a4_hz), self.deviation_cents + self.tuning_cents)

    def rows(self) -> list[dict[str, float | int]]:
        """A dict a note, with KEYS."""
        columns = [getattr(self, key).tolist() for key in KEYS]
        return [dict(zip(KEYS, values, strict=True)) for values in zip(*columns, strict=True)]


def write_truth(path: Path, notes: Notes) -> None:
    durable.write_json(path, {"tuning_cents": notes.tuning_cents, "a4_hz": notes.a4_hz, "notes": notes.rows()})


def read_truth(path: Path) -> Notes:
    """A truth file. Raises InputError for one that does not hold what it should."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        columns = {key: np.array([float(row[key]) for row in content["notes"]], dtype=np.float64) for key in KEYS}
        tuning_cents, a4_hz = float(content["tuning_cents"]), float(content["a4_hz"])
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{shown(path)} is no truth of a melody ({type(error).__name__}: {error}); expected tuning_cents, a4_hz and notes, "
            f"each with {', '.join(KEYS)}"
        ) from None
    numbers = np.array([tuning_cents, a4_hz, *np.concatenate(list(columns.values()))])
    if not np.isfinite(numbers).all() or a4_hz <= 0:
        raise InputError(f"{shown(path)}: its numbers must be finite, and a4_hz above 0")
    if (np.diff(columns["onset_s"]) < 0).any():
        raise InputError(f"{shown(path)}: its notes must be in the order of their onsets")
    intended = columns.pop("intended_midi")
    if (intended != np.round(intended)).any():
        raise InputError(f"{shown(path)}: intended_midi must be whole numbers")
    return Notes(intended_midi=intended.astype(np.int64), tuning_cents=tuning_cents, a4_hz=a4_hz, **columns)
