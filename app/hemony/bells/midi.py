"""Notes as a standard MIDI file: what was meant, when it was struck, how loud.

The format is small and settled (MIDI Manufacturers Association 1996, "Standard MIDI Files 1.0"): one track of format 0, in which every event
follows the time since the one before it, a number in groups of seven bits.
"""

import numpy as np

from hemony.bells.notes import Notes

TICKS_PER_S = 1000
BEAT_S = 0.5  # 120 beats a minute, which a file without a tempo has too; onsets are as they were struck, on no grid
TUBULAR_BELLS = 14  # the bells of General MIDI, counted from 0
LOUDEST = 112  # velocity
RING_S = 2.0  # a note ends when its bell is struck again, and at the latest then
NOTE_ON, NOTE_OFF, PROGRAM = 0x90, 0x80, 0xC0  # on the first channel
TEMPO, TRACK_END = b"\xff\x51\x03", b"\xff\x2f\x00"


def as_midi(notes: Notes) -> bytes:
    """A whole file. Notes that are no MIDI numbers, 0 to 127, are left out."""
    events = [(0, TEMPO + round(BEAT_S * 1e6).to_bytes(3, "big")), (0, bytes((PROGRAM, TUBULAR_BELLS)))]
    events += sorted(strokes(notes), key=lambda event: event[0])
    ticks = [tick for tick, _ in events]
    since = np.diff(ticks, prepend=0).tolist()
    track = b"".join(in_sevens(wait) + message for wait, (_, message) in zip(since, events, strict=True)) + b"\x00" + TRACK_END
    header = b"".join(value.to_bytes(2, "big") for value in (0, 1, round(BEAT_S * TICKS_PER_S)))  # format, tracks, ticks a beat
    return chunk(b"MThd", header) + chunk(b"MTrk", track)


def strokes(notes: Notes) -> list[tuple[int, bytes]]:
    """A tick and a message for each beginning and each end of a note, ends first."""
    begins: list[tuple[int, bytes]] = []
    ends: list[tuple[int, bytes]] = []
    loudest_db = float(notes.level_db.max()) if len(notes) else 0.0
    for place, (onset_s, midi, level_db) in enumerate(
        zip(notes.onset_s, notes.intended_midi.tolist(), notes.level_db, strict=True)
    ):
        if not 0 <= midi <= 127:
            continue
        again_s = notes.onset_s[place + 1 :][notes.intended_midi[place + 1 :] == midi]
        end_s = min(float(again_s[0]) if len(again_s) else np.inf, onset_s + RING_S)
        velocity = max(1, round(LOUDEST * 10 ** (float(level_db - loudest_db) / 40)))  # amplitude is the square of the velocity
        begins.append((round(onset_s * TICKS_PER_S), bytes((NOTE_ON, midi, velocity))))
        ends.append((round(end_s * TICKS_PER_S), bytes((NOTE_OFF, midi, 0))))
    return ends + begins


def in_sevens(number: int) -> bytes:
    """Groups of seven bits, the highest first; all but the last have the eighth bit set."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | number & 0x7F)
    return bytes(reversed(groups))


def chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "big") + content
