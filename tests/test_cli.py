"""The command as a user meets it: exit codes, streams, formats, and what it does not import."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SHAPES, classify_lightly, draw_shape, hemony

Bundle = tuple[Path, Path, dict[str, Any]]
METRIC_KEYS = {
    "accuracy", "accuracy_low", "accuracy_high", "correct", "total", "top5_accuracy", "balanced_accuracy", "macro_precision",
    "macro_recall", "macro_f1", "nll", "nll_uncalibrated", "ece", "ece_uncalibrated", "temperature", "bundle", "data", "part", "seed",
    "parameters", "train_time_s",
}  # fmt: skip


def test_help_and_version_need_no_torch() -> None:
    script = (
        "import sys\nfrom hemony.cli import main\n"
        "for arguments in (['--help'], ['--version'], ['train', '--help'], ['evaluate', '--help'], ['classify', '--help'], ['doctor', '-h']):\n"
        "    assert main(arguments) == 0\n"
        "heavy = {'torch', 'numpy', 'hydra', 'omegaconf', 'PIL', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    for word in ("hemony VERB", "train", "evaluate", "classify", "doctor", "experiment=", "--format"):
        assert word in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ([], 2, ""),
        (["trian"], 2, "did you mean 'train'?"),
        (["classify"], 2, "usage: hemony classify"),
        (["classify", "nowhere", "x.png"], 3, "nowhere is not a bundle"),
        (["classify", "nowhere", "x.png", "--top", "0"], 2, "--top 0 must be at least 1"),
        (["classify", "nowhere", "x.png", "--format", "yaml"], 2, "yaml"),
        (["evaluate"], 2, "name a bundle"),
        (["evaluate", "a", "b", "c"], 2, "3 bundles"),
        (["evaluate", "nowhere"], 3, "nowhere is not a bundle"),
        (["train", "data=image_folder"], 2, "data.root=FOLDER"),
        (["train", "data=image_folder", "data.root=/nowhere", "output=checkpoints/x"], 3, "/nowhere is not a folder"),
        (["train", "--format", "yaml"], 2, "expected one of: table, json, jsonl, csv"),
        (["train", "--nonsense"], 2, "hemony"),
        (["train", "trainer=gpu", "output=checkpoints/y"], 2, "a GPU is asked for, but torch sees none"),
        (["doctor", "please"], 2, "please"),
    ],
)
def test_mistakes_end_with_their_code_and_one_line(arguments: list[str], code: int, expected: str, tmp_path: Path) -> None:
    finished = hemony(*arguments, cwd=tmp_path, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert finished.returncode == code, finished.stderr
    assert expected in finished.stderr
    assert "Traceback" not in finished.stderr
    assert list(tmp_path.rglob("*.json")) == []
    if expected:
        assert finished.stdout == ""
        (line,) = finished.stderr.splitlines()
        assert line.startswith("hemony: ")


# ------------------------------------------------------------------------------------------------------ train, evaluate


def test_training_learns_and_leaves_a_bundle_and_a_run(shapes_bundle: Bundle) -> None:
    folder, _, metrics = shapes_bundle
    assert metrics["accuracy"] >= 0.8
    assert set(metrics) == METRIC_KEYS
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "bundle.json", "history.json", "README.md", "run"}
    assert json.loads((folder / "run" / "metrics.json").read_text()) == metrics
    (row,) = csv.DictReader(io.StringIO((folder / "run" / "metrics.csv").read_text()))
    assert float(row["accuracy"]) == metrics["accuracy"]
    assert "<h1>" in (folder / "run" / "report.html").read_text()
    assert f"{metrics['accuracy']:.4f}" in (folder / "README.md").read_text()
    history = json.loads((folder / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == list(range(1, 13))
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_evaluate_needs_only_the_bundle_and_repeats_its_figures(shapes_bundle: Bundle, tmp_path: Path) -> None:
    folder, _, metrics = shapes_bundle
    moved = tmp_path / "moved=here"  # its name looks like an override
    shutil.copytree(folder, moved, ignore=shutil.ignore_patterns("run", "README.md", "history.json"))
    finished = hemony("evaluate", moved, "--format", "json")
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert set(found) == METRIC_KEYS
    assert "only the 18 of its stored test part" in finished.stderr
    for key in METRIC_KEYS - {"bundle", "data", "part"}:
        assert found[key] == pytest.approx(metrics[key], rel=1e-3), key
    assert (found["data"], found["part"]) == ("image_folder", "test")


def test_evaluate_takes_a_folder_whole_only_if_nothing_in_it_was_trained_on(shapes_bundle: Bundle, tmp_path: Path) -> None:
    folder, trained_on, _ = shapes_bundle
    draw = np.random.default_rng(9)
    for shape in SHAPES:
        (tmp_path / "fresh" / shape).mkdir(parents=True)
        for index in range(5):
            Image.fromarray(draw_shape(shape, 16, draw)).save(tmp_path / "fresh" / shape / f"{index}.png")
    fresh = hemony(
        "evaluate",
        folder,
        "data=image_folder",
        f"data.root={tmp_path / 'fresh'}",
        "--format",
        "json",
        f"report={tmp_path / 'r.html'}",
    )
    assert fresh.returncode == 0, fresh.stderr
    assert (json.loads(fresh.stdout)["total"], json.loads(fresh.stdout)["part"]) == (15, "all")
    assert (tmp_path / "r.html").stat().st_size > 5000
    mixed = tmp_path / "mixed"
    shutil.copytree(trained_on, mixed)
    shutil.copy(tmp_path / "fresh" / "disc" / "0.png", mixed / "disc" / "new.png")
    partly = hemony("evaluate", folder, "data=image_folder", f"data.root={mixed}", "--format", "json")
    assert (json.loads(partly.stdout)["total"], json.loads(partly.stdout)["part"]) == (18, "test")


def test_evaluate_names_both_sets_when_classes_differ(shapes_bundle: Bundle, tmp_path: Path) -> None:
    folder, trained_on, _ = shapes_bundle
    shutil.copytree(trained_on, tmp_path / "other")
    (tmp_path / "other" / "disc").rename(tmp_path / "other" / "square")
    refused = hemony("evaluate", folder, "data=image_folder", f"data.root={tmp_path / 'other'}")
    assert refused.returncode == 3
    assert "lacks (square); data: bar, ring, square; bundle: bar, disc, ring" in refused.stderr


def test_two_bundles_are_compared_on_the_same_images(shapes_bundle: Bundle) -> None:
    folder = shapes_bundle[0]
    finished = hemony("evaluate", folder, folder, "--format", "json")
    first, second, difference = json.loads(finished.stdout)
    assert first == second
    assert "18 images remain that none of the bundles was trained on" in finished.stderr
    assert difference["accuracy"] == 0
    assert difference["mcnemar_p_value"] == 1.0


def test_a_taken_folder_is_not_written_over(shapes_bundle: Bundle) -> None:
    folder, trained_on, _ = shapes_bundle
    before = (folder / "bundle.json").read_bytes()
    refused = hemony("train", "data=image_folder", f"data.root={trained_on}", f"output={folder}")
    assert refused.returncode == 2
    assert "already holds a bundle" in refused.stderr
    assert (folder / "bundle.json").read_bytes() == before


def test_a_sweep_numbers_its_folders(shapes_bundle: Bundle, tmp_path: Path) -> None:
    arguments = [
        "model=fast_cnn",
        "model.width=0.125",
        "trainer.max_epochs=1",
        "trainer.batch_size=32",
        f"output={tmp_path / 'ä b'}",
    ]
    finished = hemony(
        "train", "-m", "data=image_folder", f"data.root={shapes_bundle[1]}", *arguments, "seed=1,2", "--format", "jsonl"
    )
    assert finished.returncode == 0, finished.stderr
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [row["seed"] for row in rows] == [1, 2]
    assert all((tmp_path / "ä b" / number / "bundle.json").exists() for number in "01")


def test_a_sweep_goes_on_after_a_job_that_fails_and_ends_with_its_error(shapes_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "bundle.json").touch()
    arguments = ["model=fast_cnn", "model.width=0.125", "trainer.max_epochs=1", f"output={tmp_path}", "--format", "jsonl"]
    finished = hemony("train", "-m", "data=image_folder", f"data.root={shapes_bundle[1]}", *arguments, "seed=1,2,3")
    assert finished.returncode == 2, finished.stderr
    assert "already holds a bundle" in finished.stderr
    assert [json.loads(line)["bundle"] for line in finished.stdout.splitlines()] == [str(tmp_path / "0"), str(tmp_path / "2")]


def test_hydra_shows_the_config_and_completes(tmp_path: Path) -> None:
    shown = hemony("train", "--cfg", "job", "experiment=cifar10", cwd=tmp_path)
    assert "kind: cifar10" in shown.stdout
    assert "batch_size:" in shown.stdout
    assert "search path" in hemony("train", "--info", "searchpath", cwd=tmp_path).stdout
    assert "hydra_bash_completion" in hemony("-sc", "install=bash", cwd=tmp_path).stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hemony tr", ["train"]),
        ("hemony train data=ci", ["data=cifar10", "data=cifar100"]),
        ("hemony train model=fast_cnn model.wi", ["model.width="]),
        ("hemony evaluate batch", ["batch_size="]),
        ("hemony classify x", []),
    ],
)
def test_the_shell_completes_verbs_options_and_keys(line: str, expected: list[str]) -> None:
    query = hemony("-sc", "query=bash", env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))})
    assert query.stdout.split() == expected, query.stderr


# ------------------------------------------------------------------------------------------------------------- classify


def test_classify_rows_formats_and_order(shapes_bundle: Bundle, tmp_path: Path) -> None:
    folder, trained_on, _ = shapes_bundle
    sources = sorted(str(path) for path in (trained_on / "ring").iterdir())[:5]
    asked = hemony("classify", folder, *sources, "--format", "jsonl", "--top", "2")
    rows = [json.loads(line) for line in asked.stdout.splitlines()]
    assert asked.returncode == 0
    assert [row["path"] for row in rows] == sources
    for row in rows:
        assert set(row) == {"path", "label", "confidence", "top"}
        assert row["top"][0] == {"label": row["label"], "confidence": row["confidence"]}
        assert len(row["top"]) == 2
    assert sum(row["label"] == "ring" for row in rows) >= 4
    assert json.loads(hemony("classify", folder, *sources, "--format", "json", "--top", "2").stdout) == rows
    table = list(csv.DictReader(io.StringIO(hemony("classify", folder, *sources, "--format", "csv").stdout)))
    assert [line["label"] for line in table] == [row["label"] for row in rows]
    globbed = hemony("classify", folder, f"{trained_on}/ring/00*.png", "--format", "jsonl")
    assert len(globbed.stdout.splitlines()) == 10
    listed = hemony("classify", folder, "-", "--format", "jsonl", "--top", "2", input="\n".join(sources) + "\n\n")
    assert listed.stdout == asked.stdout
    assert len(hemony("classify", folder, trained_on, "--batch-size", "7").stdout.splitlines()) == 120


def test_a_bad_file_gets_an_error_row_and_the_others_are_done(shapes_bundle: Bundle, tmp_path: Path) -> None:
    folder, trained_on, _ = shapes_bundle
    good = next((trained_on / "bar").iterdir())
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:40])
    (tmp_path / "x.png").mkdir()
    shutil.copy(good, tmp_path / "good.png")
    asked = hemony("classify", folder, tmp_path / "bad.png", tmp_path / "missing.png", tmp_path / "good.png", "--format", "jsonl")
    rows = [json.loads(line) for line in asked.stdout.splitlines()]
    assert asked.returncode == 3
    assert [set(row) for row in rows] == [{"path", "error"}, {"path", "error"}, {"path", "label", "confidence", "top"}]
    assert "no such file" in rows[1]["error"]
    in_folder = hemony("classify", folder, tmp_path, "--format", "jsonl")
    assert in_folder.returncode == 3
    assert len(in_folder.stdout.splitlines()) == 2


def test_an_empty_folder_or_glob_does_not_stop_the_others(shapes_bundle: Bundle, tmp_path: Path) -> None:
    bundle, root, _ = shapes_bundle
    (tmp_path / "empty").mkdir()
    first = sorted((root / "disc").iterdir())[0]
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes(first.read_bytes())
    finished = hemony("classify", bundle, first, tmp_path / "empty", tmp_path / "*.webp", odd, first, "--format", "jsonl")
    assert finished.returncode == 3, finished.stderr
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert ["error" in row for row in rows] == [False, True, True, False, False]
    assert "a folder without images" in rows[1]["error"]
    assert "nothing matches" in rows[2]["error"]
    assert rows[3]["path"] == str(odd)


def test_a_report_that_cannot_be_written_is_told_before_the_work(shapes_bundle: Bundle, tmp_path: Path) -> None:
    bundle, _, _ = shapes_bundle
    (tmp_path / "file").touch()
    for report, expected in ((tmp_path / "file" / "page.html", "cannot be written"), (tmp_path, "is a folder")):
        refused = hemony("evaluate", bundle, f"report={report}")
        assert refused.returncode == 2
        assert expected in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "images" not in refused.stderr
    assert hemony("evaluate", bundle, f"report={tmp_path / 'new' / 'page.html'}").returncode == 0
    assert (tmp_path / "new" / "page.html").exists()


def test_evaluate_says_what_it_skips(shapes_bundle: Bundle, tmp_path: Path) -> None:
    bundle, root, _ = shapes_bundle
    for path in root.rglob("*.png"):
        copy = tmp_path / "copy" / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = np.array(Image.open(path))
        content[0, 0] = 1  # another image, so that the folder counts whole
        Image.fromarray(content).save(copy)
    (tmp_path / "copy" / "disc" / "000.png").write_bytes(b"nothing")
    whole = (tmp_path / "copy" / "disc" / "001.png").read_bytes()
    (tmp_path / "copy" / "disc" / "001.png").write_bytes(whole[:-200])
    finished = hemony("evaluate", bundle, "data=image_folder", f"data.root={tmp_path / 'copy'}", "--format", "json")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["total"] == 118
    assert finished.stderr.count("1 of 120 files cannot be read") == 1
    assert finished.stderr.count("1 of 119 files cannot be read") == 1


def test_the_card_names_the_job_that_made_it(shapes_bundle: Bundle) -> None:
    card = (shapes_bundle[0] / "README.md").read_text()
    assert "hemony train data=image_folder data.root=FOLDER model=fast_cnn model.width=0.25" in card


def test_a_folder_of_the_users_is_not_taken_for_a_run(shapes_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    refused = hemony("train", "data=image_folder", "data.root=/nowhere", f"output={tmp_path}")
    assert refused.returncode == 2
    assert "holds other files" in refused.stderr
    assert (tmp_path / "run" / "mine.txt").exists()


def test_classify_imports_nothing_that_only_training_needs(shapes_bundle: Bundle) -> None:
    folder, trained_on, _ = shapes_bundle
    classify_lightly(folder, next((trained_on / "bar").iterdir()))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "its digest differs"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "cannot be read"),
        (lambda folder: (folder / "bundle.json").unlink(), "it has no bundle.json"),
        (lambda folder: (folder / "bundle.json").write_text('{"schema_version": 99}'), "schema version 99"),
        (
            lambda folder: (folder / "bundle.json").write_text(
                (folder / "bundle.json").read_text().replace('"width": 0.25', '"width": 0.5')
            ),
            "does not describe a recogniser",
        ),
    ],
)
def test_a_damaged_bundle_is_told_in_one_line(shapes_bundle: Bundle, tmp_path: Path, spoil: Any, expected: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(shapes_bundle[0], folder, ignore=shutil.ignore_patterns("run"))
    spoil(folder)
    finished = hemony("classify", folder, "x.png")
    assert finished.returncode == 3
    assert expected in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
