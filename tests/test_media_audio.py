"""Hostile and odd recordings: each is decoded right, or refused with one line; nothing hangs and memory stays bounded."""

import io
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hemony.errors import InputError, UsageError
from hemony.media import audio, live
from tests.conftest import refused_in_one_line

RATE_HZ = 8_000
HZ = 440.0


def tone(seconds: float = 0.5, rate_hz: int = RATE_HZ, channels: int = 1, level: float = 0.5) -> np.ndarray:
    """(frames, channels)"""
    frames = round(seconds * rate_hz)
    wave = level * np.sin(2 * np.pi * HZ * np.arange(frames) / rate_hz)
    return np.repeat(wave[:, None], channels, axis=1)


def encoded(samples: np.ndarray, rate_hz: int = RATE_HZ, form: str = "WAV", subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, format=form, subtype=subtype)
    return content.getvalue()


def wav(
    frames: bytes, channels: int = 1, rate_hz: int = RATE_HZ, bits: int = 16, code: int = 1, claims: int | None = None
) -> bytes:
    """A WAV file by hand, so that its header may lie."""
    size = len(frames) if claims is None else claims
    frame_bytes = channels * bits // 8
    head = struct.pack("<HHIIHH", code, channels, rate_hz, (rate_hz * frame_bytes) & 0xFFFFFFFF, frame_bytes & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size & 0xFFFFFFFF) + frames
    return b"RIFF" + struct.pack("<I", (len(body)) & 0xFFFFFFFF) + body


def flac_that_claims(frames: int) -> bytes:
    """A FLAC whose stream info claims so many frames."""
    content = bytearray(encoded(tone(), form="FLAC"))
    packed = int.from_bytes(content[18:26], "big")  # rate (20 bits), channels - 1 (3), bits - 1 (5), frames (36)
    content[18:26] = ((packed & ~((1 << 36) - 1)) | frames).to_bytes(8, "big")
    return bytes(content)


def hears(hz: float = HZ, level: float = 0.5, seconds: float = 0.5, tolerance: float = 0.05) -> Callable[[np.ndarray], bool]:
    def check(samples: np.ndarray) -> bool:
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        found_hz = spectrum.argmax() * RATE_HZ / len(samples)
        found_level = np.sqrt(2 * np.mean((samples / 32767.0) ** 2))
        return abs(found_hz - hz) < 8 and abs(found_level - level) < tolerance and abs(len(samples) / RATE_HZ - seconds) < 0.15

    return check


def silent(samples: np.ndarray) -> bool:
    return not samples.any()


def with_odd_values() -> bytes:
    samples = tone().astype(np.float32)
    samples[100:110] = np.nan
    samples[200:210] = np.inf
    return encoded(samples, subtype="FLOAT")


READ: dict[str, tuple[Callable[[], bytes], Callable[[np.ndarray], bool]]] = {
    **{f"wav {kind}": (lambda kind=kind: encoded(tone(), subtype=kind), hears()) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM")},
    **{f"flac {kind}": (lambda kind=kind: encoded(tone(), form="FLAC", subtype=kind), hears()) for kind in ("PCM_S8", "PCM_16", "PCM_24")},
    "ogg vorbis": (lambda: encoded(tone(), form="OGG", subtype="VORBIS"), hears(tolerance=0.1)),
    "ogg opus": (lambda: encoded(tone(), form="OGG", subtype="OPUS"), hears(tolerance=0.1)),
    "mp3": (lambda: encoded(tone(rate_hz=16_000), 16_000, form="MP3"), hears(tolerance=0.1)),
    "aiff": (lambda: encoded(tone(), form="AIFF"), hears()),
    "au": (lambda: encoded(tone(), form="AU"), hears()),
    "caf": (lambda: encoded(tone(), form="CAF"), hears()),
    "w64": (lambda: encoded(tone(), form="W64"), hears()),
    "rf64": (lambda: encoded(tone(), form="RF64"), hears()),
    **{f"{rate:,} Hz": (lambda rate=rate: encoded(tone(rate_hz=rate), rate), hears()) for rate in (4_000, 11_025, 44_100, 48_000, 96_000, 192_000, 768_000)},
    **{f"{channels} channels": (lambda channels=channels: encoded(tone(channels=channels), form="WAV"), hears()) for channels in (2, 6, 96)},
    "stereo that cancels": (lambda: encoded(tone(channels=2) * [1, -1]), silent),
    "one side alone": (lambda: encoded(tone(channels=2) * [1, 0]), hears(level=0.25)),
    "not a number and infinity": (with_odd_values, hears()),
    "float louder than full scale": (lambda: encoded(tone(level=4.0), subtype="FLOAT"), lambda samples: abs(samples).max() == 32767 and hears(level=1.3, tolerance=0.15)(samples)),
    "clipped": (lambda: encoded(np.clip(tone(level=10.0), -1, 1)), hears(level=1.37, tolerance=0.1)),
    "silence": (lambda: encoded(np.zeros((4000, 1))), silent),
    "one sample": (lambda: encoded(np.full((1, 1), 0.25)), lambda samples: len(samples) == 1 and abs(samples[0] - 8192) <= 1),
    "one sample at another rate": (lambda: encoded(np.full((1, 1), 0.25), 44_100), lambda samples: len(samples) <= 2),
    "wav header that claims more": (lambda: wav(tone_bytes(), claims=10**9), hears()),
    "wav header that claims 4 GiB": (lambda: wav(tone_bytes(), claims=2**32 - 1), hears()),
    "wav that breaks off in a frame": (lambda: wav(tone_bytes()[:-1]), hears()),
    "wav cut in half": (lambda: encoded(tone(1.0))[: 44 + 8000], hears()),
    "flac that claims 2^35 frames": (lambda: flac_that_claims(2**35), hears()),
    "flac that claims no frames": (lambda: flac_that_claims(0), hears()),
    "flac cut in half": (lambda: cut(encoded(noise(2.0), form="FLAC"), 0.5), lambda samples: 4_000 < len(samples) < 12_000),
    "ogg cut in half": (lambda: cut(encoded(noise(4.0), form="OGG", subtype="VORBIS"), 0.5), lambda samples: 4_000 < len(samples) < 30_000),
    "mp3 cut in half": (lambda: cut(encoded(noise(2.0, 16_000), 16_000, form="MP3"), 0.5), lambda samples: 4_000 < len(samples) < 13_000),
    "id3 tag before an mp3": (lambda: b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + encoded(tone(rate_hz=16_000), 16_000, form="MP3"), hears(tolerance=0.1)),
}  # fmt: skip

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "no frames": (lambda: encoded(np.zeros((0, 1))), "no sound"),
    "wav header alone": (lambda: wav(b""), "no sound"),
    "wav header cut": (lambda: wav(tone_bytes())[:30], "not an audio file"),
    "riff alone": (lambda: b"RIFF", "not an audio file"),
    "no channels": (lambda: wav(tone_bytes(), channels=0), ""),
    "1,000 channels": (lambda: wav(bytes(4000), channels=1000), "channels"),
    "2^31 - 1 Hz": (lambda: wav(tone_bytes(), rate_hz=2**31 - 1), "samples a second"),
    "0 Hz": (lambda: wav(tone_bytes(), rate_hz=0), ""),
    "10 Hz": (lambda: wav(tone_bytes(), rate_hz=10), "samples a second"),
    "an unknown codec": (lambda: wav(tone_bytes(), code=0x1234), ""),
    "flac signature alone": (lambda: b"fLaC", ""),
    "flac header alone": (lambda: encoded(tone(), form="FLAC")[:42], ""),
    "ogg page alone": (lambda: encoded(tone(), form="OGG")[:58], ""),
    "html": (lambda: b"<!DOCTYPE html><html>404</html>", "HTML"),
    "zip": (lambda: b"PK\x03\x04" + bytes(100), "ZIP"),
    "git lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "text": (lambda: b"hello\n" * 50, "not an audio file"),
    "zeros": (lambda: bytes(4096), "not an audio file"),
    "random bytes": (lambda: random.Random(0).randbytes(4096), "not an audio file"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "not an audio file"),
}  # fmt: skip


def tone_bytes() -> bytes:
    return (tone()[:, 0] * 32767).astype("<i2").tobytes()


def noise(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate_hz), 1))


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


@pytest.mark.parametrize("name", READ)
def test_odd_recordings_are_read_right(name: str, tmp_path: Path) -> None:
    make, check = READ[name]
    path = tmp_path / "clip.txt"  # the content decides, whatever the suffix says
    path.write_bytes(make())
    samples = audio.read_audio(path, RATE_HZ)
    assert samples.dtype == np.int16
    assert samples.ndim == 1
    assert check(samples), (len(samples), np.abs(samples).max())
    assert audio.probe_audio(path).channels >= 1


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_recordings_are_refused_with_one_line(name: str, tmp_path: Path) -> None:
    make, expected = REFUSED[name]
    path = tmp_path / "clip.wav"
    path.write_bytes(make())
    refused_in_one_line(lambda source: audio.read_audio(source, RATE_HZ), path, expected)


def test_there_are_at_least_forty_cases() -> None:
    assert len(READ) + len(REFUSED) >= 40


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.mkdir(), "folder"),
        (lambda path: os.mkfifo(path), "pipe"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda path: None, "no such file"),
    ],
    ids=["folder called x.wav", "pipe", "dangling link", "missing"],
)
def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], expected: str) -> None:
    path = tmp_path / "x.wav"
    make(path)
    with pytest.raises(InputError, match=expected):
        audio.read_audio(path, RATE_HZ)


def test_blocks_join_without_a_seam_at_any_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(noise(3.0, 44_100), 44_100))
    for rate_hz in (8_000, 44_100, 48_000):
        whole = audio.read_audio(path, rate_hz)
        with monkeypatch.context() as patch:
            patch.setattr(audio, "BLOCK_VALUES", 1_000)
            blocks = list(audio.audio_blocks(path, rate_hz))
        assert len(blocks) > 3
        joined = np.concatenate(blocks)
        assert len(joined) == len(whole) == 3 * rate_hz
        assert np.abs(joined.astype(int) - whole).max() <= 1  # of 32,767: rounding


def test_a_span_of_a_recording_is_that_span(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(encoded(noise(2.0), form="FLAC"))
    whole = audio.read_audio(path, RATE_HZ)
    span = np.concatenate(list(audio.audio_blocks(path, RATE_HZ, start_s=0.5, end_s=1.25)))
    assert np.array_equal(span, whole[4_000:10_000])
    with pytest.raises(InputError, match="from 9 s on"):
        list(audio.audio_blocks(path, RATE_HZ, start_s=9.0))


def test_resampling_keeps_a_tone_and_drops_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    seconds = np.arange(48_000) / 48_000
    path.write_bytes(
        encoded((0.4 * np.sin(2 * np.pi * 3_000 * seconds) + 0.4 * np.sin(2 * np.pi * 5_000 * seconds))[:, None], 48_000)
    )
    samples = audio.read_audio(path, RATE_HZ)[1_000:-1_000] / 32767
    place = np.arange(1_000, 1_000 + len(samples)) / RATE_HZ
    basis = np.stack([np.sin(2 * np.pi * 3_000 * place), np.cos(2 * np.pi * 3_000 * place)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    assert np.hypot(*weights) == pytest.approx(0.4, rel=1e-3)
    assert np.abs(samples - basis @ weights).max() < 1e-3  # the 5,000 Hz would be an alias at 3,000


def test_long_or_wide_files_cost_no_memory_to_speak_of(tmp_path: Path) -> None:
    (tmp_path / "wide.wav").write_bytes(encoded(np.zeros((200_000, 96)), subtype="PCM_U8"))
    with soundfile.SoundFile(tmp_path / "day.flac", "w", 8_000, 1, "PCM_16") as file:
        for _ in range(24 * 60):
            file.write(np.zeros(60 * 8_000, dtype=np.int16))
    (tmp_path / "lie.flac").write_bytes(flac_that_claims(2**36 - 1))
    script = (
        "import resource, sys; from pathlib import Path; from hemony.media import audio\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]: print(sum(map(len, audio.audio_blocks(Path(path), 8_000))))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    paths = [tmp_path / name for name in ("wide.wav", "day.flac", "lie.flac")]
    finished = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    *lengths, grown_mib = map(int, finished.stdout.split())
    assert lengths == [200_000, 24 * 3600 * 8_000, 4_000]
    assert grown_mib < 100


@pytest.mark.parametrize(("form", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)])
def test_flipped_bytes_give_sound_or_one_line(form: str, subtype: str | None, tmp_path: Path) -> None:
    draw = random.Random(form)
    whole = encoded(noise(0.3, 16_000), 16_000, form=form, subtype=subtype)
    path = tmp_path / "clip"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            found = sum(map(len, audio.audio_blocks(path, RATE_HZ))) > 0
        except InputError as error:
            found = "\n" not in str(error)
        assert found


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".WAV"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_is_read_again(suffix: str, channels: int, tmp_path: Path) -> None:
    seconds = np.arange(3_000_000) / 44_100  # longer than libsndfile takes at a time in Vorbis
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    audio.write_audio(tmp_path / f"tone{suffix}", tone if channels == 1 else np.stack((tone, tone), axis=1), 44_100)
    samples, rate_hz = soundfile.read(tmp_path / f"tone{suffix}", dtype="float32", always_2d=True)
    assert rate_hz == 44_100
    assert samples.shape == (3_000_000, channels)
    assert np.abs(samples - tone[:, None]).max() < (0.02 if suffix == ".ogg" else 2e-7)
    assert [path.name for path in tmp_path.iterdir()] == [f"tone{suffix}"]


def test_sound_is_not_written_where_it_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path / "a.mp4", tmp_path / "none" / "a.wav"):
        with pytest.raises(UsageError, match=r"one of|no folder"):
            audio.write_audio(path, np.zeros(10, np.float32), 8_000)


def test_what_is_no_float32_is_refused_and_a_loud_sample_is_clipped() -> None:
    form = live.RawFormat(8000, 1, "f32le")
    noise = np.random.default_rng(0).integers(-9000, 9000, 8000).astype("<i2").tobytes()
    with pytest.raises(InputError, match="--encoding"):
        list(live.raw_blocks(io.BytesIO(noise), form, 8000))
    loud = np.zeros(800, "<f4")
    loud[5] = 1e30
    (peak,) = {int(np.abs(block).max()) for block in live.raw_blocks(io.BytesIO(loud.tobytes()), form, 8000) if np.abs(block).any()}
    assert peak >= 32767


def test_no_stdin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="stdin is closed"):
        live.stdin()


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    samples = np.zeros((100, 2), np.float32)
    samples[3, 1], samples[7, 0] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    recording = audio.read_recording(tmp_path / "a.wav")
    assert recording.repaired == 2
    assert not recording.waves.any()


def test_sound_is_not_written_into_a_device_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    for name, words in (("x.wav", "is a folder"), ("pipe.wav", "no regular file")):
        with pytest.raises(UsageError, match=words):
            audio.check_writable(tmp_path / name)
