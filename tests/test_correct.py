"""`hemony correct`: from a recording of bells to its notes, to the recording put right."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hemony import correct, hearing, melody_bundle
from hemony.bells.notes import Notes, read_truth
from hemony.bells.temperament import EQUAL, read_scala
from hemony.bells.tuning import note_name
from hemony.cli import main
from hemony.errors import InputError, UsageError
from hemony.media.audio import as_float, read_audio, read_recording, write_audio
from hemony.models.ear import SAMPLE_RATE_HZ

BUNDLE = Path(__file__).parents[1] / "checkpoints" / "bells"
MEANTONE = """! meanquar.scl
!
1/4-comma meantone scale. Pietro Aaron's temperament (1523)
 12
!
 76.04900
 193.15686
 310.26471
 5/4
 503.42157
 579.47057
 696.57843
 25/16
 889.73529
 1006.84314
 1082.89214
 2/1
"""


def notes_off_by(cents: list[float], tuning_cents: float = 0.0, midi: list[int] | None = None) -> Notes:
    count = len(cents)
    meant = np.array(midi or [72] * count)
    return Notes(np.arange(count) * 0.5, meant, np.array(cents), np.ones(count), np.zeros(count), tuning_cents)


def test_notes_within_the_tolerance_stay() -> None:
    off, moves, _ = correct.corrections(notes_off_by([4.9, -4.9, 5.1, -70.0], 20.0), EQUAL, 5.0, None)
    assert off.tolist() == pytest.approx([4.9, -4.9, 5.1, -70.0])
    assert moves.tolist() == pytest.approx([0, 0, -5.1, 70.0])


def test_another_a4_moves_every_note() -> None:
    _, moves, _ = correct.corrections(notes_off_by([0.0, 30.0], 20.0), EQUAL, 5.0, 440.0)
    assert moves.tolist() == [-20.0, -50.0]
    _, moves, _ = correct.corrections(notes_off_by([0.0]), EQUAL, 5.0, 440 * 2 ** (10 / 1200))
    assert moves == pytest.approx([10.0])
    _, moves, _ = correct.corrections(
        notes_off_by([0.0], -1.0), EQUAL, 1.0, 415.0
    )  # the tuning of a semitone below: nothing is transposed
    assert moves == pytest.approx([1.0 - 1.27], abs=0.01) or not moves.any()


def test_a_note_that_may_be_misheard_stays_unless_it_is_far_off() -> None:
    notes = notes_off_by([20.0, 20.0, -70.0])
    notes.confidence[:] = (0.4, 0.6, 0.4)
    assert correct.corrections(notes, EQUAL, 5.0, None)[1].tolist() == [0.0, -20.0, 70.0]


def test_the_tuning_is_that_beside_the_temperament(tmp_path: Path) -> None:
    (tmp_path / "meantone.scl").write_text(MEANTONE)
    temperament = read_scala(tmp_path / "meantone.scl")
    midi = list(range(60, 84))
    sounding = temperament[np.array(midi) % 12] + 3.0
    assert correct.corrections(notes_off_by(sounding.tolist(), 0.0, midi), temperament, 5.0, None)[2] == pytest.approx(3.0, abs=0.2)


def test_a_scale_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "plain.scl").write_text(MEANTONE)
    (tmp_path / "marked.scl").write_bytes(b"\xef\xbb\xbf" + MEANTONE.encode())
    assert np.array_equal(read_scala(tmp_path / "plain.scl"), read_scala(tmp_path / "marked.scl"))


def test_a_carillon_that_is_in_tune_with_itself_is_not_mended(tmp_path: Path) -> None:
    (tmp_path / "meantone.scl").write_text(MEANTONE)
    temperament = read_scala(tmp_path / "meantone.scl")
    assert temperament[9] == 0
    assert temperament[0] == pytest.approx(900 - 889.73529)
    assert temperament[4] == pytest.approx(386.3137 - 400 + 900 - 889.73529, abs=1e-3)
    midi = list(range(60, 84))
    sounding = temperament[np.array(midi) % 12] + 12.0
    notes = notes_off_by([float(cents) for cents in sounding], 0.0, midi)
    off, moves, _ = correct.corrections(notes, temperament, 5.0, None)
    assert np.abs(off).max() < 0.5
    assert not moves.any()
    assert np.abs(correct.corrections(notes, EQUAL, 5.0, None)[1]).max() > 5


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "a\n7\n" + "100.0\n" * 7,
        "a\n12\n" + "1/0\n" * 12,
        "a\n12\n" + "100.0\n" * 12,
        "a\n12\n" + "-3/2\n" * 12,
        "a\n12\n" + "1.0e400\n" * 12,
        "\0" * 200_000,
    ],
)
def test_what_is_no_scale_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "scale.scl").write_text(content)
    with pytest.raises(InputError, match=r"scale\.scl"):
        read_scala(tmp_path / "scale.scl")


def test_notes_have_names() -> None:
    assert [note_name(midi) for midi in (60, 69, 73, 108)] == ["C4", "A4", "C#5", "C8"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["b"], "name a recording"),
        (["b", "a.wav", "--stream"], "takes no file"),
        (["b", "--stream"], "give --rate, --channels, --encoding"),
        (["b", "--stream", "--rate", "8000", "--channels", "1", "--encoding", "s16le", "--out", "o.wav"], "prints its notes"),
        (["b", "a.wav", "--tolerance-cents", "-1"], "from 0 to 100"),
        (["b", "a.wav", "--a4", "44"], "from 220 to 880"),
        (["b", "a.wav", "--out", "o.mp3"], "sound is written as"),
        (["b", "a.wav", "--midi", "no/such/m.mid"], "there is no folder"),
        (["b", "a.wav", "--out", "a.wav"], "the same one"),
        (["b", "a.wav", "--nothing"], "usage"),
        (["b", "a.wav", "--rate", "8000"], "describe a --stream"),
        (["b", "a.wav", "--temperament", "s.scl", "--notes", "s.scl"], "the same one"),
        (["b", "--stream", "--rate", "0", "--channels", "1", "--encoding", "s16le"], "are read"),
        (["b", "--stream", "--rate", "8000", "--channels", "0", "--encoding", "s16le"], "are read"),
        (["b", "--stream", "--rate", "8000", "--channels", "1", "--encoding", "s16le", "--a4", "440"], "that has an end"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["correct", *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_waves_come_through_as_they_are(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    waves = draw.uniform(-0.9, 0.9, (300_000, 2)).astype(np.float32)
    for floats, tolerance in ((True, 0.0), (False, 2**-23)):
        write_audio(tmp_path / "a.wav", waves, 44_100, floats, {"title": "Bells"})
        read = read_recording(tmp_path / "a.wav")
        assert (read.sample_rate_hz, read.floats, read.tags) == (44_100, floats, {"title": "Bells"})
        assert np.abs(read.waves - waves).max() <= tolerance
    soundfile.write(tmp_path / "b.wav", np.array([0.5, np.nan, np.inf, -0.5]), 8000, subtype="FLOAT")
    assert read_recording(tmp_path / "b.wav").waves[:, 0].tolist() == [0.5, 0, 0, -0.5]


@pytest.mark.parametrize(("name", "rate_hz", "channels"), [("a.ogg", 250_000, 1), ("a.flac", 44_100, 9), ("a.flac", 768_000, 1)])
def test_what_a_format_does_not_hold_is_refused(tmp_path: Path, name: str, rate_hz: int, channels: int) -> None:
    with pytest.raises(UsageError, match=r"write \.wav"):
        write_audio(tmp_path / name, np.zeros((100, channels), np.float32), rate_hz)
    assert not list(tmp_path.iterdir())


def test_channels_of_opposite_sign_do_not_cancel() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32)
    assert correct.mono_of(np.stack((wave, -wave), axis=1)) == pytest.approx(wave)
    assert correct.mono_of(np.stack((wave, wave), axis=1)) == pytest.approx(wave)


needs_bundle = pytest.mark.skipif(not BUNDLE.is_dir(), reason="checkpoints/bells is not there")


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good King Wenceslas, its wave and its truth."""
    folder = tmp_path_factory.mktemp("piece")
    command = ["synth", "good_king_wenceslas", "--out", str(folder / "king.wav"), "--truth", str(folder / "king.json")]
    assert main([*command, "--spacing", "0.35,0.6", "--tuning", "12", "--seed", "5", "--rate", "32000"]) == 0
    return folder


@needs_bundle
def test_a_melody_is_heard_and_put_right(piece: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = read_truth(piece / "king.json")
    outputs = {name: tmp_path / f"tuned.{name}" for name in ("wav", "mid", "jsonl", "png", "html")}
    options = [
        word
        for option, name in (("--out", "wav"), ("--midi", "mid"), ("--notes", "jsonl"), ("--plot", "png"), ("--page", "html"))
        for word in (option, str(outputs[name]))
    ]
    capsys.readouterr()
    assert main(["correct", str(BUNDLE), str(piece / "king.wav"), *options, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(truth)
    meant = np.array([row["intended_midi"] for row in rows])
    assert (meant == truth.intended_midi).mean() > 0.95
    off = np.array([row["deviation_cents"] for row in rows])
    right = meant == truth.intended_midi
    assert np.median(np.abs(off - truth.deviation_cents)[right]) < 1.5
    assert all(outputs[name].stat().st_size for name in outputs)
    assert [json.loads(line)["intended_midi"] for line in outputs["jsonl"].read_text().splitlines()] == meant.tolist()
    assert outputs["html"].read_text().count("<audio") == 2
    before, after = (read_recording(path).waves for path in (piece / "king.wav", outputs["wav"]))
    moved = [row["onset_s"] for row in rows if row["moved_cents"]]
    first = round((moved[0] - 0.02) * 32_000)
    assert np.array_equal(before[:first], after[:first])
    assert np.abs(before - after).max() > 0.01
    assert main(["correct", str(BUNDLE), str(outputs["wav"]), "--format", "jsonl"]) == 0
    printed = capsys.readouterr()
    assert "corrected before: only notes more than 10 cents off" in printed.err
    again = np.array([json.loads(line)["deviation_cents"] for line in printed.out.splitlines()])
    assert np.median(np.abs(again)) < 2
    assert (np.abs(again) < 10).mean() > 0.95


@needs_bundle
def test_a_folder_of_recordings_with_truths_is_judged(piece: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("king.wav", "king.json"):
        shutil.copy(piece / name, tmp_path / name)
    capsys.readouterr()
    assert main(["evaluate", str(BUNDLE), "data=bell_folder", f"data.root={tmp_path}", "--format", "json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["onset_f1"] > 0.98
    assert figures["recordings"] == 1
    assert main(["evaluate", str(BUNDLE), "data=bell_folder", f"data.root={tmp_path / 'king.wav'}"]) == 3


@needs_bundle
def test_what_is_no_melody_gives_no_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    for name, wave in (("silence", np.zeros(48_000)), ("noise", draw.normal(0, 0.1, 96_000)), ("one", np.zeros(1))):
        soundfile.write(tmp_path / f"{name}.wav", wave, 24_000)
        assert (
            main(["correct", str(BUNDLE), str(tmp_path / f"{name}.wav"), "--out", str(tmp_path / "o.wav"), "--format", "json"]) == 0
        )
        printed = capsys.readouterr()
        assert printed.out.strip() == "[]"
        assert "no melody on bells" in printed.err
        assert np.array_equal(read_recording(tmp_path / "o.wav").waves, read_recording(tmp_path / f"{name}.wav").waves)


@needs_bundle
def test_a_stream_gives_the_notes_as_they_are_decided(piece: Path) -> None:
    samples, rate_hz = soundfile.read(piece / "king.wav", dtype="int16")
    raw = samples[: 8 * rate_hz].tobytes()
    command = [sys.executable, "-m", "hemony", "correct", str(BUNDLE), "--stream"]
    form = ["--rate", str(rate_hz), "--channels", "1", "--encoding", "s16le"]
    done = subprocess.run([*command, *form], input=raw, capture_output=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    truth = read_truth(piece / "king.json")
    heard = [row for row in rows if row["event"] == "note"]
    onset_s = np.array([row["onset_s"] for row in heard])
    asked = np.flatnonzero(truth.onset_s < 7.5)
    nearest = np.abs(onset_s[:, None] - truth.onset_s[asked]).argmin(axis=0)
    assert np.abs(onset_s[nearest] - truth.onset_s[asked]).max() < 0.05
    assert len(heard) <= (truth.onset_s < 8).sum() + 1
    meant = np.array([heard[place]["intended_midi"] for place in nearest])
    assert (meant == truth.intended_midi[asked]).mean() >= 0.8
    sounding = np.array(
        [100 * heard[place]["intended_midi"] + heard[place]["deviation_cents"] + heard[place]["tuning_cents"] for place in nearest]
    )
    true = 100 * truth.intended_midi[asked] + truth.deviation_cents[asked] + truth.tuning_cents
    assert np.median(np.abs(sounding - true)) < 1
    assert [row["event"] for row in rows[:3]] == ["strike", "strike", "note"]


@needs_bundle
def test_a_long_recording_is_heard_in_pieces_as_if_it_were_one(piece: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = melody_bundle.load(BUNDLE).network
    wave = as_float(read_audio(piece / "king.wav", SAMPLE_RATE_HZ))[: 12 * SAMPLE_RATE_HZ]
    whole = hearing.strikes_of(network.ear, wave)
    monkeypatch.setattr(hearing, "FRAMES_AT_ONCE", 250)
    monkeypatch.setattr(hearing, "NOTES_AT_ONCE", 5)
    pieces = hearing.strikes_of(network.ear, wave)
    assert len(whole.onset_s) > 15
    assert pieces.onset_s == pytest.approx(whole.onset_s, abs=1e-3)
    assert pieces.might_be[:, 0] == pytest.approx(whole.might_be[:, 0], abs=1e-3)


@needs_bundle
def test_a_long_melody_is_understood_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    network = melody_bundle.load(BUNDLE).network
    semitones, step_s = np.tile([72.0, 74.0, 76.7, 77.0, 79.0, 76.0, 72.0], 6), np.full(42, 0.4)
    whole = hearing.meant(network, semitones, step_s)
    monkeypatch.setattr(hearing, "NOTES_MEANT", 10)
    assert hearing.meant(network, semitones, step_s).shape == whole.shape
    assert (hearing.meant(network, semitones, step_s).argmax(dim=1) == whole.argmax(dim=1)).all()
