"""Notes as a MIDI file, read back by a reader that shares nothing with the writer."""

import struct

import numpy as np
import pytest

from hemony.bells.midi import as_midi, in_sevens
from hemony.bells.notes import Notes


def notes_of(onset_s: list[float], midi: list[int], level_db: list[float] | None = None) -> Notes:
    count = len(midi)
    return Notes(
        np.array(onset_s),
        np.array(midi, dtype=np.int64),
        np.zeros(count),
        np.ones(count),
        np.array(level_db or [-20.0] * count),
        0.0,
    )


def read(content: bytes) -> list[tuple[float, int, int, int]]:
    """Seconds, kind of message, note and velocity of the note messages of a format 0 file."""
    name, length, form, tracks, division = struct.unpack(">4sIHHH", content[:14])
    assert (name, length, form, tracks) == (b"MThd", 6, 0, 1)
    name, length = struct.unpack(">4sI", content[14:22])
    track = content[22:]
    assert (name, length) == (b"MTrk", len(track))
    place, tick, tempo_us, messages, ended = 0, 0, 500_000, [], False
    while place < len(track):
        wait = 0
        while True:
            wait, more = wait << 7 | track[place] & 127, track[place] & 128
            place += 1
            if not more:
                break
        tick += wait
        status = track[place]
        if status == 0xFF:
            kind, size = track[place + 1], track[place + 2]
            if kind == 0x51:
                tempo_us = int.from_bytes(track[place + 3 : place + 3 + size], "big")
            ended = kind == 0x2F
            place += 3 + size
        elif status & 0xF0 == 0xC0:
            place += 2
        else:
            messages.append((tick * tempo_us / 1e6 / division, status & 0xF0, track[place + 1], track[place + 2]))
            place += 3
    assert ended
    return messages


def test_notes_come_back_when_and_as_they_were_meant() -> None:
    messages = read(as_midi(notes_of([0.25, 0.7004, 31.0], [72, 79, 60], [-20.0, -26.0, -60.0])))
    begins = [message for message in messages if message[1] == 0x90]
    assert [(round(second, 6), note) for second, _, note, _ in begins] == [(0.25, 72), (0.7, 79), (31.0, 60)]
    loud, soft, faint = (velocity for *_, velocity in begins)
    assert loud > soft > faint >= 1
    assert loud <= 127


def test_every_note_ends_and_one_struck_again_ends_first() -> None:
    messages = read(as_midi(notes_of([0.1, 0.5, 0.9], [70, 70, 74])))
    assert [(round(second, 3), kind, note) for second, kind, note, _ in messages] == [
        (0.1, 0x90, 70), (0.5, 0x80, 70), (0.5, 0x90, 70), (0.9, 0x90, 74), (2.5, 0x80, 70), (2.9, 0x80, 74),
    ]  # fmt: skip


def test_no_notes_are_a_file_too() -> None:
    assert read(as_midi(notes_of([], []))) == []


def test_what_is_no_midi_number_is_left_out() -> None:
    assert {note for _, _, note, _ in read(as_midi(notes_of([0.0, 1.0, 2.0], [128, 127, -1])))} == {127}


@pytest.mark.parametrize(("number", "groups"), [(0, "00"), (127, "7f"), (128, "8100"), (0x3FFF, "ff7f"), (0x4000, "818000")])
def test_numbers_as_in_the_table_of_the_standard(number: int, groups: str) -> None:
    assert in_sevens(number).hex() == groups
