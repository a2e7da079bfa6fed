"""A sound rebuilt term by term."""

from pathlib import Path

import numpy as np
import pytest

from hemony.cli import main
from hemony.lens.harmonic import PARTIAL_HZ, TERMS, bands, cut_out, partials
from tests.conftest import inspected

RATE_HZ = 16_000


def tones(*hz_and_amplitude: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    times_s = np.arange(RATE_HZ) / RATE_HZ
    wave = sum(amplitude * np.sin(2 * np.pi * hz * times_s) for hz, amplitude in hz_and_amplitude)
    return np.rint(wave).astype(np.int16)


def test_partials_are_found_from_low_to_high() -> None:
    found = partials(tones((1230.0, 8000), (410.0, 500), (2777.0, 3000), (3000.0, 1)), RATE_HZ)
    assert [(low + high) / 2 for low, high in found] == pytest.approx([410, 1230, 2777], abs=1)


def test_a_term_is_what_lies_in_it() -> None:
    low, high = tones((400.0, 5000)), tones((2000.0, 2500))
    only = cut_out(low + high, RATE_HZ, [(400 - PARTIAL_HZ, 400 + PARTIAL_HZ)])
    assert np.abs(only - low).max() <= 1
    assert not cut_out(low, RATE_HZ, []).any()


def test_all_bands_together_are_the_clip() -> None:
    clip = np.random.default_rng(0).integers(-9000, 9000, RATE_HZ).astype(np.int16)
    every = bands(RATE_HZ)
    assert len(every) == max(TERMS)
    assert np.array_equal(cut_out(clip, RATE_HZ, every), clip)
    parts = sum(cut_out(clip, RATE_HZ, [band]).astype(np.int64) for band in every)
    assert np.abs(parts - clip).max() <= max(TERMS)


def test_a_bell_is_recognised_by_its_partials_and_every_figure_is_in_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts, page, printed = inspected("harmonic", "checkpoints/bell_types", tmp_path, capsys)
    assert facts["term"] == "partial"
    assert page.count("<audio") == sum(len(clip["steps"]) for clip in facts["clips"])
    for clip in facts["clips"]:
        energies = [step["energy_share"] for step in clip["steps"]]
        assert energies == sorted(energies)
        assert energies[-1] == 1.0
        assert clip["steps"][-1]["predicted"] == clip["label"]
        for step in clip["steps"]:
            assert (
                f"{step['probability']:.0%} {clip['label']}, called {step['predicted']}; {step['energy_share']:.0%} of the energy"
                in page
            )
            assert f"{step['probability']:.3f}" in printed


def test_images_have_no_partials(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "harmonic", "checkpoints/digits"]) == 3
    assert "harmonic: left out" in capsys.readouterr().err
