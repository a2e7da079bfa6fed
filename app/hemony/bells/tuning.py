"""Hz, MIDI numbers and cents: every conversion between them is here, for floats, NumPy arrays and tensors alike.

A MIDI number may have a fraction; 69 is the A above middle C, at `a4_hz`. 100 cents are a semitone, 1200 an octave.
"""

from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

Value = TypeVar("Value", float, npt.NDArray[Any], Tensor)

A4_HZ = 440.0
A4_MIDI = 69.0
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def hz_to_midi(frequency_hz: Value, a4_hz: float = A4_HZ) -> Value:
    midi: Any = A4_MIDI + 12 * _log2(frequency_hz / a4_hz)
    return cast(Value, midi)


def midi_to_hz(midi: Value, a4_hz: float = A4_HZ) -> Value:
    hz: Any = a4_hz * 2 ** ((midi - A4_MIDI) / 12)
    return cast(Value, hz)


def cents_between(low_hz: Value, high_hz: Value) -> Value:
    """The interval from one frequency up to another, negative where it goes down."""
    cents: Any = 1200 * _log2(high_hz / low_hz)
    return cast(Value, cents)


def shifted(frequency_hz: Value, cents: Value) -> Value:
    """A frequency moved up by an interval in cents."""
    hz: Any = frequency_hz * 2 ** (cents / 1200)
    return cast(Value, hz)


def note_name(midi: int) -> str:
    """`E5`; 69 is A4."""
    return f"{NAMES[midi % 12]}{midi // 12 - 1}"


def _log2(ratio: Value) -> Value:
    logarithm: Any = ratio.log2() if isinstance(ratio, Tensor) else np.log2(ratio)
    return cast(Value, logarithm)
