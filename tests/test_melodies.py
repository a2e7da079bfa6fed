"""Melodies on bells: the tunes, the composer, the playing of them, the truth that is written."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hemony import synth
from hemony.bells import notes as notes_file
from hemony.bells.composer import compose
from hemony.bells.notes import Notes, read_truth, write_truth
from hemony.bells.pieces import LEAD_S, Mistuning, Playing, even_onsets_s, fitting, onsets_s, play, strokes
from hemony.bells.scores import HOT_CHILLI_BELLS_100, NAMES, score
from hemony.bells.synth import TABLES, BellKind
from hemony.bells.tunes import KNOWN, MAJOR, TUNES, UNSEEN, Score, parsed, stretches, tune
from hemony.bells.tuning import cents_between, midi_to_hz
from hemony.cli import main
from hemony.datasets.seeding import generator
from hemony.errors import InputError

SCALE = Score("scale", (72, 74, 76, 77, 79), (1.0, 1.0, 2.0, 0.5, 1.5), 0)


@pytest.mark.parametrize("name", TUNES)
def test_every_bar_of_a_tune_is_full(name: str) -> None:
    _, _, bar_beats, lines = TUNES[name]
    for line in lines:
        bars = [sum(parsed(token)[1] for token in bar.split()) for bar in line.split("|")]
        assert all(beats == bar_beats for beats in bars[1:-1]), line
        assert bars[0] <= bar_beats, line
        assert bars[-1] <= bar_beats, line


def test_a_note_is_read_as_it_is_written() -> None:
    assert parsed("A4") == (69, 1.0)
    assert parsed("Bb4:.5") == (70, 0.5)
    assert parsed("F#5:1.5") == (78, 1.5)
    assert parsed("B3:2") == (59, 2.0)


def test_tunes_begin_as_everybody_knows_them() -> None:
    assert np.diff(tune("joy_to_the_world").midi[:8]).tolist() == [-1, -2, -2, -2, -1, -2, -2]  # a scale down
    assert np.diff(tune("jingle_bells").midi[:4]).tolist() == [9, -2, -2]
    assert np.diff(tune("silent_night").midi[:4]).tolist() == [2, -2, -3]


def test_known_and_unseen_tunes_share_no_stretch_of_nine_notes() -> None:
    unseen, known = (set().union(*(stretches(tune(name).midi, 9) for name in names)) for names in (UNSEEN, KNOWN))
    assert len(UNSEEN) >= 6
    assert not unseen & known
    assert stretches((60, 62, 64, 65), 3) == {(2, 2), (2, 1)}


def test_the_composer_writes_tunes_that_move_like_tunes() -> None:
    draw = np.random.default_rng(3)
    tunes = [compose(draw) for _ in range(200)]
    steps = np.concatenate([np.abs(np.diff(made.midi)) for made in tunes])
    real = np.concatenate([np.abs(np.diff(tune(name).midi)) for name in KNOWN])
    for widest in (0, 2, 5, 12):  # semitones
        assert abs((steps <= widest).mean() - (real <= widest).mean()) < 0.15, widest
    assert all(40 <= len(made.midi) == len(made.beats) for made in tunes)
    in_key = np.mean([(note - made.tonic) % 12 in made.scale for made in tunes for note in made.midi])
    assert 0.9 < in_key < 1
    ends = np.mean([(made.midi[-1] - made.tonic) % 12 == 0 for made in tunes])
    assert ends > 0.8  # chimes and changes end as they end
    assert len({made.midi for made in tunes}) == 200


@pytest.mark.parametrize("seed", range(5))
def test_hot_chilli_bells_has_exactly_100_notes_and_ends_at_home(seed: int) -> None:
    piece = score(HOT_CHILLI_BELLS_100, seed)
    assert len(piece.midi) == len(piece.beats) == 100
    assert piece.midi[-1] % 12 == piece.tonic == 0
    assert all(note % 12 in (*MAJOR, 6) for note in piece.midi)  # the raised fourth of Deck the Halls
    assert score(HOT_CHILLI_BELLS_100, seed) == piece
    assert score(HOT_CHILLI_BELLS_100, seed + 5).midi != piece.midi


def test_deviations_are_as_many_and_as_large_as_is_asked_for() -> None:
    draw = generator(0, "test")
    cents = Mistuning(spread_cents=5, off_share=0.12, semitone_share=0.03).deviations_cents(np.full(20_000, 60.0), draw)
    size = np.abs(cents)
    assert np.mean(size > 50) == pytest.approx(0.15, abs=0.01)
    assert np.std(cents[size < 40]) == pytest.approx(5, abs=0.2)
    assert np.mean(cents > 0) == pytest.approx(0.5, abs=0.02)
    assert np.mean(np.abs(size - 100) < 15) == pytest.approx(0.03 + 0.12 * 0.3, abs=0.006)


def test_a_bell_that_is_off_is_off_alike_whenever_it_sounds() -> None:
    midi = np.array([60.0, 64.0, 60.0, 67.0, 64.0, 60.0])
    cents = Mistuning(spread_cents=30, per_bell=True).deviations_cents(midi, generator(0, "test"))
    assert cents[0] == cents[2] == cents[5]
    assert cents[1] == cents[4]
    assert len(set(cents.tolist())) == 3


def test_onsets_follow_the_score_or_are_brought_between_two_limits() -> None:
    assert onsets_s(SCALE, 0.5).tolist() == [0, 0.5, 1, 2, 2.25]
    steps = np.diff(even_onsets_s(SCALE, 0.2, 0.4))
    assert steps.min() == pytest.approx(0.2)
    assert steps.max() == pytest.approx(0.4)
    assert np.argmax(steps) == 2


@pytest.mark.parametrize("kind", list(BellKind))
def test_a_score_is_moved_to_where_there_are_bells(kind: BellKind) -> None:
    moved = fitting(SCALE.transposed(-30), kind)
    assert min(moved.midi) >= TABLES[kind].lowest_midi
    assert max(moved.midi) <= TABLES[kind].highest_midi
    assert np.diff(moved.midi).tolist() == np.diff(SCALE.midi).tolist()
    assert (moved.midi[0] - moved.tonic) % 12 == 0


def test_what_is_heard_is_what_the_truth_says() -> None:
    """The strongest partial of a glockenspiel bar is its strike note and has no doublet: read it off a long spectrum."""
    rate_hz = 44_100
    playing = Playing(BellKind.glockenspiel, rate_hz, tuning_cents=-30.0, transient_db=-60.0, decay=0.5)
    piece = fitting(SCALE, BellKind.glockenspiel)
    wave, notes = play(piece, onsets_s(piece, 2.0), Mistuning(spread_cents=40), playing, generator(1, "test"))
    assert wave.abs().max() == pytest.approx(0.8)
    heard_hz = []
    for onset_s, power_db in zip(notes.onset_s, notes.level_db, strict=True):
        first = round(onset_s * rate_hz)
        assert wave[max(0, first - 20) : first].abs().max() < 0.05
        part = wave[first + 400 : first + 22_050].double() * torch.hann_window(21_650, dtype=torch.float64)
        spectrum = torch.fft.rfft(part, n=2**19).abs()
        place = int(spectrum[1:].argmax()) + 1
        left, middle, right = spectrum[place - 1 : place + 2].log().tolist()
        heard_hz.append((place + 0.5 * (left - right) / (left - 2 * middle + right)) * rate_hz / 2**19)
        begin = wave[first : first + 200].double()
        assert 10 * float(begin.square().mean().log10()) == pytest.approx(power_db, abs=3)
    assert np.abs(cents_between(notes.strike_hz, np.array(heard_hz))).max() < 0.3


@pytest.mark.parametrize("kind", list(BellKind))
def test_the_truth_is_the_strike_note_of_the_partials_that_sound(kind: BellKind) -> None:
    midi = np.arange(TABLES[kind].lowest_midi, TABLES[kind].highest_midi)
    cents = np.linspace(-100, 100, len(midi))
    modes = strokes(midi, cents, np.zeros(len(midi)), Playing(kind), generator(5, "test"))
    partials = len(TABLES[kind].partials)
    first, second = modes.frequency_hz[:, :partials], modes.frequency_hz[:, partials:]
    weights = modes.amplitude[:, partials:] / (modes.amplitude[:, :partials] + modes.amplitude[:, partials:])
    centres = torch.lerp(first, second, weights)  # a doublet counts as its amplitude-weighted mean
    anchors = {  # partial and factor: twice the hum, the prime, half the nominal; half of mode 4; the fundamental
        BellKind.carillon: [(0, 2.0), (1, 1.0), (4, 0.5)],
        BellKind.handbell: [(0, 1.0)],
        BellKind.tubular_bell: [(2, 0.5)],
        BellKind.glockenspiel: [(0, 1.0)],
    }[kind]
    strike_hz = torch.stack([centres[:, partial] * factor for partial, factor in anchors]).median(dim=0).values.numpy()
    assert np.abs(cents_between(midi_to_hz(midi + cents / 100), strike_hz)).max() < 1e-6


def rms_db(wave: torch.Tensor) -> float:
    return 10 * float(wave.double().square().mean().clamp(min=1e-20).log10())


def test_harmony_room_and_noise_are_heard_and_leave_the_truth_as_it_was() -> None:
    plain = Playing(BellKind.handbell, 16_000, transient_db=-60.0, decay=0.3)
    piece = fitting(SCALE.transposed(24), BellKind.handbell)
    begins = onsets_s(piece, 1.5)
    in_tune = Mistuning(0, 0, 0)

    def played(**changes: float) -> tuple[torch.Tensor, Notes]:
        return play(piece, begins, in_tune, dataclasses.replace(plain, **changes), generator(2, "test"))

    wave, notes = played()
    quiet = slice(0, round((LEAD_S - 0.02) * 16_000))
    assert rms_db(wave[quiet]) < -150
    assert rms_db(wave[-320:]) < -60
    noisy, noisy_notes = played(snr_db=10.0)
    assert rms_db(noisy) - rms_db(noisy[quiet]) == pytest.approx(10.4, abs=1.0)  # melody and noise over noise alone
    rooms, room_notes = played(room_t60_s=2.0)
    assert rms_db(rooms[quiet]) < -100
    assert rms_db(rooms[-320:]) < -50  # it ends in silence, not in a step
    between = slice(round((LEAD_S + 1.4) * 16_000), round((LEAD_S + 1.45) * 16_000))
    assert rms_db(rooms[between]) > rms_db(wave[between]) + 3
    chords, chord_notes = played(chord_every=2)

    def lower_half(sound: torch.Tensor, note: int) -> float:
        """The share of a note's energy that lies more than a tone below it."""
        first = round(float(notes.onset_s[note]) * 16_000)
        power = torch.fft.rfft(sound[first : first + 8000].double()).abs().square()
        return float(power[: int(notes.strike_hz[note] * 0.85 / 2)].sum() / power.sum())

    for note in range(len(piece.midi)):
        assert (lower_half(chords, note) > 0.05) == (note % 2 == 0), note
        assert lower_half(wave, note) < 0.05
    for other in (noisy_notes, room_notes, chord_notes):
        assert other.deviation_cents.tolist() == notes.deviation_cents.tolist()
        assert other.intended_midi.tolist() == list(piece.midi)
    assert torch.equal(played(snr_db=10.0, room_t60_s=1.0)[0], played(snr_db=10.0, room_t60_s=1.0)[0])


def test_a_wandering_reference_pitch_is_part_of_the_deviations() -> None:
    in_tune = Mistuning(spread_cents=0, off_share=0, semitone_share=0)
    long = Score("long", (72,) * 40, (1.0,) * 40, 0)
    _, notes = play(long, onsets_s(long, 0.1), in_tune, Playing(sample_rate_hz=4000, drift_cents=20.0), generator(0, "test"))
    assert np.ptp(notes.deviation_cents) == pytest.approx(20)
    assert abs(notes.deviation_cents.mean()) < 1e-9
    assert np.abs(np.diff(notes.deviation_cents)).max() < 3


def some_notes() -> Notes:
    return Notes(
        np.array([0.25, 0.5]), np.array([69, 81]), np.array([-3.5, 60.0]), np.array([1.0, 0.75]), np.array([-20.0, -18.0]), 12.5
    )


def test_a_truth_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth.json", some_notes())
    again = read_truth(tmp_path / "truth.json")
    assert again.rows() == some_notes().rows()
    assert again.tuning_cents == 12.5
    assert again.strike_hz[0] == pytest.approx(440 * 2 ** ((12.5 - 3.5) / 1200))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda truth: truth.pop("tuning_cents"), "tuning_cents"),
        (lambda truth: truth["notes"][0].pop("onset_s"), "onset_s"),
        (lambda truth: truth["notes"][0].update(onset_s=0.75), "order"),
        (lambda truth: truth["notes"][0].update(intended_midi=69.5), "whole"),
        (lambda truth: truth.update(a4_hz=float("nan")), "finite"),
        (lambda truth: truth.update(notes="none"), "no truth"),
    ],
)
def test_a_wrong_truth_is_refused_in_one_line(tmp_path: Path, change: object, words: str) -> None:
    path = tmp_path / "truth.json"
    write_truth(path, some_notes())
    truth = json.loads(path.read_text())
    assert callable(change)
    change(truth)
    path.write_text(json.dumps(truth))
    with pytest.raises(InputError, match=words) as caught:
        read_truth(path)
    assert "\n" not in str(caught.value)


def test_synth_writes_the_recording_and_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wave, truth = tmp_path / "piece.wav", tmp_path / "piece.json"
    command = [
        "synth",
        "westminster_quarters",
        "--out",
        str(wave),
        "--truth",
        str(truth),
        "--rate",
        "16000",
        "--spacing",
        "0.1,0.2",
    ]
    assert main([*command, "--tuning", "-20", "--seed", "4", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    samples, rate_hz = soundfile.read(wave)
    notes = read_truth(truth)
    assert (rate_hz, row["notes"], row["tuning_cents"]) == (16_000, 40, -20)
    assert row["duration_s"] == pytest.approx(len(samples) / 16_000, abs=1e-3)
    assert row["over_50_cents"] == int((np.abs(notes.deviation_cents) > 50).sum())
    assert np.diff(notes.intended_midi).tolist() == np.diff(tune("westminster_quarters").midi).tolist()
    assert set(json.loads(truth.read_text())["notes"][0]) == set(notes_file.KEYS)
    first = wave.read_bytes()
    assert main([*command, "--tuning", "-20", "--seed", "4"]) == 0
    assert wave.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hot_chili", "--out", "x.wav"], "did you mean 'hot_chilli_bells_100'?"),
        (["composed"], "--out"),
        (["composed", "--out", "x.mp4"], "one of .wav"),
        (["composed", "--out", "none/x.wav"], "no folder"),
        (["composed", "--out", "x.wav", "--spacing", "0.5"], "LEAST,MOST"),
        (["composed", "--out", "x.wav", "--tuning", "50"], "semitone above"),
        (["composed", "--out", "x.wav", "--tempo", "nan"], "--tempo"),
        (["composed", "--out", "x.wav", "--off-share", "0.9", "--semitone-share", "0.2"], "more than all"),
        (["composed", "--out", "x.wav", "--kind", "gong"], "gong"),
        (["composed", "--out", "x.wav", "--truth", "none/x.json"], "no folder"),
        (["composed", "--out", "x.wav", "--truth", "x.wav"], "another file"),
        (["composed", "--out", "x.wav", "--room", "0.001"], "--room"),
        (["composed", "--out", "x.wav", "--spacing", "60,60"], "would last"),
        (["joy_to_the_world", "--out", "x.wav", "--kind", "glockenspiel", "--rate", "4000"], "at least"),
    ],
)
def test_synth_refuses_what_it_cannot_do(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["synth", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not list(tmp_path.iterdir())


def test_every_piece_can_be_played_and_is_named_by_the_help() -> None:
    assert synth.__doc__
    assert all(name in synth.__doc__ for name in NAMES)
    for name in NAMES:
        for kind in BellKind:
            piece = fitting(score(name, 0), kind)
            beyond = sum(not TABLES[kind].lowest_midi <= note <= TABLES[kind].highest_midi for note in piece.midi)
            enough = max(piece.midi) - min(piece.midi) <= TABLES[kind].highest_midi - TABLES[kind].lowest_midi
            assert beyond == 0 if enough else beyond < 0.2 * len(piece.midi), (name, kind)
