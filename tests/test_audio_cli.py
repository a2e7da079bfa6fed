"""Recordings from the command line: trained, judged, labelled one by one, by windows, as a stream, in a batch that was interrupted."""

import csv
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hemony.journal import Journal
from tests.conftest import classify_lightly, hemony, needs, tone

Bundle = tuple[Path, Path, dict[str, Any]]
RATE_HZ = 8_000


def rows_of(finished: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s: 4 s low, 4 s hiss, 4 s high."""
    draw = np.random.default_rng(7)
    samples = np.concatenate([tone(hz, 4.0, draw) for hz in (300.0, 0.0, 1_500.0)])
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, samples, RATE_HZ)
    return path


def test_a_folder_of_recordings_is_learnt_and_reported(tones_bundle: Bundle) -> None:
    bundle, _, metrics = tones_bundle
    assert metrics["accuracy"] >= 0.8
    assert 0 <= metrics["unknown_auroc"] <= 1
    assert 0 <= metrics["false_alarms_per_hour"] <= 3600 / 0.5
    facts = json.loads((bundle / "bundle.json").read_text())
    assert facts["task"] == "audio_classification"
    assert facts["preprocessing"]["sample_rate_hz"] == RATE_HZ
    assert 0 < facts["unknown_threshold"] <= 1
    report = (bundle / "run" / "report.html").read_text()
    assert "test clips are right" in report
    assert "clips of" in (bundle / "README.md").read_text()


def test_evaluate_judges_the_stored_test_part(tones_bundle: Bundle) -> None:
    bundle, root, metrics = tones_bundle
    again = hemony("evaluate", bundle, "--format", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["accuracy"] == metrics["accuracy"]
    other = hemony("evaluate", bundle, "data=image_folder", f"data.root={root}")
    assert other.returncode == 2
    assert "recognises recordings, and data=image_folder is something else" in other.stderr


def test_short_recordings_get_a_row_each(tones_bundle: Bundle, tmp_path: Path) -> None:
    bundle, root, _ = tones_bundle
    paths = sorted((root / "low").iterdir())[:4]
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    finished = hemony("classify", bundle, *paths, tmp_path / "bad.wav", "--format", "jsonl", "--top", "2")
    assert finished.returncode == 3
    *rows, bad = rows_of(finished)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert all(set(row) == {"path", "start_s", "end_s", "label", "confidence", "top"} and len(row["top"]) == 2 for row in rows)
    assert sum(row["label"] == "low" for row in rows) >= 3
    assert set(bad) == {"path", "error"}
    info = soundfile.info(paths[0])
    assert rows[0]["end_s"] == pytest.approx(info.duration, abs=1e-3)
    stereo = np.repeat(soundfile.read(paths[0])[0][:, None], 2, axis=1)
    soundfile.write(tmp_path / "other.flac", stereo, RATE_HZ)
    assert rows_of(hemony("classify", bundle, tmp_path / "other.flac", "--format", "jsonl"))[0]["label"] == rows[0]["label"]


def test_a_long_recording_is_heard_as_events_and_by_windows(tones_bundle: Bundle, long_recording: Path) -> None:
    bundle, _, _ = tones_bundle
    events = rows_of(hemony("classify", bundle, long_recording, "--format", "jsonl"))
    assert [event["label"] for event in events] == ["low", "hiss", "high"]
    assert [event["start_s"] for event in events] == pytest.approx([0, 4, 8], abs=0.5)
    assert events[-1]["end_s"] == pytest.approx(12.0, abs=0.5)
    windows = rows_of(hemony("classify", bundle, long_recording, "--windows", "--hop", "0.1", "--format", "jsonl"))
    assert [window["start_s"] for window in windows[:4]] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert len(windows) > 100
    strict = rows_of(hemony("classify", bundle, long_recording, "--windows", "--threshold", "0.999999,low=0", "--format", "jsonl"))
    assert {window["label"] for window in strict} <= {"low", "unknown", "hiss", "high"}
    assert {window["label"] for window in strict if window["confidence"] < 0.999999} <= {"low", "unknown"}
    assert hemony("classify", bundle, long_recording, "--unknown").returncode == 0


def test_labels_for_audacity_and_raven(tones_bundle: Bundle, long_recording: Path) -> None:
    bundle, _, _ = tones_bundle
    labels = [line.split("\t") for line in hemony("classify", bundle, long_recording, "--format", "audacity").stdout.splitlines()]
    assert [label for *_, label in labels] == ["low", "hiss", "high"]
    assert float(labels[0][0]) == 0
    table = list(
        csv.DictReader(io.StringIO(hemony("classify", bundle, long_recording, "--format", "raven").stdout), delimiter="\t")
    )
    assert [row["Selection"] for row in table] == ["1", "2", "3"]
    assert [row["Label"] for row in table] == ["low", "hiss", "high"]
    assert table[0]["Begin Path"] == str(long_recording)
    assert float(table[1]["Begin Time (s)"]) == pytest.approx(4, abs=0.5)
    refused = hemony("classify", bundle, long_recording, long_recording, "--format", "audacity")
    assert refused.returncode == 2


def test_a_stream_gets_the_rows_of_the_file_as_they_are_known(tones_bundle: Bundle, long_recording: Path) -> None:
    bundle, _, _ = tones_bundle
    samples = soundfile.read(long_recording, dtype="int16")[0]
    expected = rows_of(hemony("classify", bundle, long_recording, "--windows", "--format", "jsonl"))
    command = [sys.executable, "-m", "hemony", "classify", str(bundle), "--stream", "--rate", "8000", "--channels", "1"]
    with subprocess.Popen(
        [*command, "--encoding", "s16le", "--windows", "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(samples[:8_000].tobytes())
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # long before the stream ends
        process.stdin.write(samples[8_000:].tobytes())
        process.stdin.close()
        rows = [first, *map(json.loads, process.stdout.read().splitlines())]
    assert process.returncode == 0
    assert rows == [{key: value for key, value in row.items() if key != "path"} for row in expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stream"], "give --rate, --channels, --encoding"),
        (["--stream", "--rate", "8000", "--channels", "1", "--encoding", "s16le", "x.wav"], "a stream takes no files"),
        (["x.wav", "--rate", "8000"], "describe a --stream"),
        (["x.wav", "--hop", "-1"], "--hop -1 must be above 0"),
        (["x.wav", "--threshold", "2"], "a probability from 0 to 1"),
        (["x.wav", "--threshold", "cow=0.5"], "no label 'cow'"),
        (["x.wav", "--resume"], "name it by --out FILE"),
        ([], "name files, folders or globs"),
    ],
)
def test_what_does_not_go_together_is_refused(tones_bundle: Bundle, arguments: list[str], expected: str) -> None:
    refused = hemony("classify", tones_bundle[0], *arguments)
    assert refused.returncode == 2
    assert expected in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_an_interruption_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken_off(error: type[BaseException]) -> None:
        with Journal(str(tmp_path / "rows.csv"), {}, False) as journal:
            journal.commit([Path("a.wav")], 1)
            raise error

    for error, told in ((KeyboardInterrupt, True), (ValueError, False)):
        with pytest.raises(error):
            broken_off(error)
        assert ("--resume" in capsys.readouterr().err) is told
    assert not (tmp_path / "rows.csv").exists()
    assert (tmp_path / "rows.csv.part").exists()


def test_what_breaks_off_before_the_first_batch_leaves_nothing(tones_bundle: Bundle, tmp_path: Path) -> None:
    bundle, root, _ = tones_bundle
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    refused = hemony("classify", broken, root, "--out", tmp_path / "rows.csv")
    assert refused.returncode == 3
    assert "its digest differs" in refused.stderr
    assert not list(tmp_path.glob("rows*"))


@pytest.mark.parametrize("form", ["jsonl", "csv", "json", "raven", "table"])
def test_an_interrupted_batch_goes_on_to_the_same_bytes(tones_bundle: Bundle, tmp_path: Path, form: str) -> None:
    bundle, root, _ = tones_bundle
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    paths = [*sorted(map(str, root.rglob("*.wav"))), str(tmp_path / "bad.wav")]
    asked = ["classify", bundle, "-", "--format", form, "--batch-size", "7"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert hemony(*asked, "--out", whole, input="\n".join(paths)).returncode == 3
    assert not list(tmp_path.glob("whole.*"))
    journal, part = tmp_path / "broken.journal", tmp_path / "broken.part"
    command = [sys.executable, "-m", "hemony", *map(str, asked), "--out", str(broken)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin
        process.stdin.write("\n".join(paths[:60]) + "\n")  # and then nothing more comes
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (journal.exists() and journal.read_text().count("\n") > 3):
            time.sleep(0.01)
        process.kill()
    assert not broken.exists()
    with part.open("ab") as file:
        file.write(b"half a row")  # that was being written
    other = hemony(*asked, "--out", broken, "--resume", input="\n".join(paths[1:]))
    assert other.returncode == 2
    assert "the files are not those" in other.stderr
    resumed = hemony(*asked, "--out", broken, "--resume", input="\n".join(paths))
    assert resumed.returncode == 3, resumed.stderr
    assert broken.read_bytes() == whole.read_bytes()
    assert not journal.exists()


def test_a_mistake_is_told_before_anything_is_read_or_written(tones_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "rows.part").write_text("of an earlier run")
    asked = ["classify", tones_bundle[0], "-", "--threshold", "2", "--out", tmp_path / "rows"]
    with subprocess.Popen([sys.executable, "-m", "hemony", *map(str, asked)], stdin=subprocess.PIPE) as process:
        assert process.wait(60) == 2  # while its stdin is open
    assert (tmp_path / "rows.part").read_text() == "of an earlier run"


def test_a_batch_of_other_files_or_options_is_not_gone_on_with(tones_bundle: Bundle, tmp_path: Path) -> None:
    bundle, root, _ = tones_bundle
    asked = ["classify", bundle, "--format", "jsonl", "--batch-size", "5", "--out", tmp_path / "rows"]
    (tmp_path / "rows.part").write_text("row\n")
    key = json.dumps({"key": {}})
    (tmp_path / "rows.journal").write_text(key + "\n")
    refused = hemony(*asked, root, "--resume")
    assert refused.returncode == 2
    assert "another bundle or other options" in refused.stderr


def test_classifying_recordings_imports_nothing_that_only_training_needs(tones_bundle: Bundle) -> None:
    bundle, root, _ = tones_bundle
    classify_lightly(bundle, next((root / "low").iterdir()))


@needs("fsdd")
def test_a_speaker_is_held_out(tmp_path: Path) -> None:
    asked = ["experiment=fsdd", "data.holdout=theo", "trainer.max_epochs=1", "model.width=0.25", f"output={tmp_path / 'run'}"]
    finished = hemony("train", *asked, "--format", "json")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["total"] == 500
