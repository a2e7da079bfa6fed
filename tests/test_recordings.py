"""Long recordings and streams: every sample is heard, a stream gets the numbers of a file, events tile a recording."""

import io
import itertools
import tracemalloc

import numpy as np
import pytest
import torch

from hemony import bundle as bundles
from hemony import models
from hemony.config import SpectrogramConfig
from hemony.datasets.collection import PARTS
from hemony.decision import Decision
from hemony.errors import InputError, UsageError
from hemony.media.live import BYTES, RawFormat, raw_blocks
from hemony.plain import plain
from hemony.preprocessing import AudioView
from hemony.recordings import Event, Heard, Listener, events_of, windows_of

RATE_HZ = 8_000
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[1, 2], ids=["one network", "an ensemble"])
def bundle(request: pytest.FixtureRequest) -> bundles.Bundle:
    torch.manual_seed(0)
    view, config = AudioView(RATE_HZ, RATE_HZ), SpectrogramConfig(width=0.25, members=request.param)
    recogniser = models.Recogniser(models.build(config, view, 3), view).eval()
    splits = dict.fromkeys(PARTS, np.zeros(0, dtype=np.uint64))
    return bundles.Bundle(recogniser, list("abc"), plain(config), view, 0.05, {}, {}, splits, {}, {}, {})


def noise(seconds: float) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(round(seconds * RATE_HZ)) * 3000).astype(np.int16)


def heard(
    bundle: bundles.Bundle, samples: np.ndarray, block: int, hop_s: float | None = None, at_once: bool = False
) -> list[Heard]:
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    return list(windows_of(Listener(bundle, CPU, False, hop_s, at_once), blocks))


@pytest.mark.parametrize("seconds", [0.1, 0.99, 1.0, 1.01, 1.5, 3.26, 20.3])
@pytest.mark.parametrize("hop_s", [None, 0.3, 1.0])
def test_windows_begin_every_hop_and_reach_the_end(bundle: bundles.Bundle, seconds: float, hop_s: float | None) -> None:
    samples = noise(seconds)
    windows = heard(bundle, samples, 1_000, hop_s)
    hop = round((hop_s or 0.5) * RATE_HZ)
    assert [window.start for window in windows] == [number * hop for number in range(len(windows))]
    assert windows[-1].end == len(samples)
    assert all(window.end - window.start == RATE_HZ for window in windows[:-1])
    assert len(windows) == 1 or windows[-2].end < len(samples)
    assert all(abs(float(window.probabilities.sum()) - 1) < 1e-9 for window in windows)


@pytest.mark.parametrize("block", [37, 1_000, 100_000])
def test_blocks_of_any_size_and_a_stream_get_the_very_same_answers(bundle: bundles.Bundle, block: int) -> None:
    samples = noise(12.7)
    expected = heard(bundle, samples, 4_096)
    for at_once in (False, True):
        found = heard(bundle, samples, block, at_once=at_once)
        assert [window.start for window in found] == [window.start for window in expected]
        for mine, other in zip(found, expected, strict=True):
            assert torch.equal(mine.probabilities, other.probabilities)


def test_a_window_hears_what_the_network_hears(bundle: bundles.Bundle) -> None:
    samples = noise(3.0)
    network = bundle.recogniser.network
    with torch.inference_mode():
        mel = network.front.mel(torch.from_numpy(samples).float()[None] / 32768)  # type: ignore[operator,union-attr]
        for number, window in enumerate(heard(bundle, samples, 5_000)[:4]):
            first = number * 50
            logits = network.logits(mel[:, :, first : first + 100]).double()  # type: ignore[operator]
            assert torch.allclose(window.probabilities, (logits[0] / 0.05).softmax(0), atol=1e-4)


def test_an_hour_takes_no_more_memory_than_a_minute(bundle: bundles.Bundle) -> None:
    def peak(seconds: int) -> int:
        blocks = itertools.repeat(noise(1.0), seconds)
        tracemalloc.start()
        for _ in windows_of(Listener(bundle, CPU, False, 1.0), blocks):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(200) < 1.2 * peak(20) + 100_000


def test_a_hop_longer_than_the_window_is_refused(bundle: bundles.Bundle) -> None:
    with pytest.raises(UsageError, match="leaves gaps"):
        Listener(bundle, CPU, False, 1.5)


def window(number: int, share: float, label: int) -> Heard:
    shares = torch.full((3,), (1 - share) / 2, dtype=torch.float64)
    shares[label] = share
    return Heard(number * 4_000, number * 4_000 + 8_000, shares)


def test_events_join_neighbours_and_tile_the_recording() -> None:
    windows = [window(0, 0.9, 0), window(1, 0.7, 0), window(2, 0.8, 1), window(3, 0.4, 1), window(4, 0.6, 2)]
    decide = Decision(list("abc"), {}, 0.5)
    assert list(events_of(windows, decide, 8_000, 4_000, RATE_HZ)) == [
        Event(0.0, 1.25, "a", pytest.approx(0.8)),
        Event(1.25, 1.75, "b", pytest.approx(0.8)),
        Event(2.25, 3.0, "c", pytest.approx(0.6)),
    ]
    lenient = list(events_of(windows, Decision(list("abc"), {"b": 0.3}, 0.5), 8_000, 4_000, RATE_HZ))
    assert [(event.label, event.end_s) for event in lenient] == [("a", 1.25), ("b", 2.25), ("c", 3.0)]
    assert list(events_of([], decide, 8_000, 4_000, RATE_HZ)) == []
    assert list(events_of([window(0, 0.4, 0)], decide, 8_000, 4_000, RATE_HZ)) == []


# ---------------------------------------------------------------------------------------------------------- raw sound


@pytest.mark.parametrize("encoding", ["s16le", "s24le", "s32le", "f32le", "u8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_raw_sound_of_every_encoding_is_the_same_sound(encoding: str, channels: int) -> None:
    wave = np.sin(np.arange(5_000) / 9)[:, None] * np.linspace(0.9, 0.3, channels)
    raw = {
        "s16le": lambda: np.rint(wave * 32767).astype("<i2").tobytes(),
        "s24le": lambda: b"".join(int(value).to_bytes(3, "little", signed=True) for value in np.rint(wave * 8388607).flatten()),
        "s32le": lambda: np.rint(wave * 2147483647).astype("<i4").tobytes(),
        "f32le": lambda: wave.astype("<f4").tobytes(),
        "u8": lambda: np.rint(wave * 128 + 128).astype("u1").tobytes(),
    }[encoding]()
    torn = b"\1" if BYTES[encoding] * channels > 1 else b""  # the stream ends in the middle of a sample
    blocks = list(raw_blocks(io.BytesIO(raw + torn), RawFormat(RATE_HZ, channels, encoding), RATE_HZ))
    found = np.concatenate(blocks) / 32768
    tolerance = 0.005 if encoding == "u8" else 1e-4
    assert np.abs(found - wave.mean(axis=1)).max() < tolerance
    assert max(map(len, blocks)) <= 0.02 * RATE_HZ + 1


def test_raw_sound_is_resampled_without_a_seam() -> None:
    times = np.arange(44_100) / 44_100
    raw = np.rint(np.sin(2 * np.pi * 440 * times) * 20_000).astype("<i2").tobytes()
    found = np.concatenate(list(raw_blocks(io.BytesIO(raw), RawFormat(44_100, 1, "s16le"), RATE_HZ)))
    assert len(found) == pytest.approx(RATE_HZ, abs=2)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / RATE_HZ) * 20_000
    assert np.abs(found - expected)[200:-200].max() < 30


def test_a_stream_without_a_sample_is_refused() -> None:
    with pytest.raises(InputError, match="ended before"):
        list(raw_blocks(io.BytesIO(b"\1"), RawFormat(RATE_HZ, 1, "s16le"), RATE_HZ))
