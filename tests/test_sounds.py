"""Recordings: found in folders, tables and named sets, parted by group, cut into windows, made without end."""

import hashlib
import io
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hemony import domains
from hemony.bells.strikes import within
from hemony.config import AudioAugmentConfig, AudioFolderConfig, BellTypesConfig, ESC50Config, FSDDConfig, SpeechCommandsConfig
from hemony.datasets import bell_types, sounds
from hemony.datasets.bell_types import CLASS_NAMES, EndlessBells
from hemony.datasets.collection import TEST, TRAIN, VALIDATION, AudioCollection
from hemony.datasets.parts import Data, build
from hemony.datasets.resident import TrainingBatches
from hemony.datasets.seeding import generator
from hemony.datasets.split import assign_parts
from hemony.datasets.wave_augment import WaveAugment
from hemony.errors import InputError, UsageError
from hemony.preprocessing import AudioView, window_spans

RATE_HZ = 8_000


def write(path: Path, seconds: float = 0.3, hz: float = 440.0, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * times), rate_hz)


def folder(root: Path, each: int = 10) -> Path:
    for label, hz in (("high", 900.0), ("low", 300.0)):
        for index in range(each):
            write(root / label / f"{index}.wav", hz=hz + index)
    return root


def find(config: AudioFolderConfig) -> AudioCollection:
    collection = domains.find(config)
    assert isinstance(collection, AudioCollection)
    return collection


def built(config: AudioFolderConfig, clip_s: float = 0.5) -> Data:
    view = AudioView(RATE_HZ, round(clip_s * RATE_HZ))
    return build(find(config).windows(view.clip_s), config, view)


# ----------------------------------------------------------------------------------------------------- folders, tables


def test_class_folders_are_parted_and_decoded(tmp_path: Path) -> None:
    (folder(tmp_path) / "high" / "note.txt").touch()
    data = built(AudioFolderConfig(root=str(tmp_path)))
    assert data.class_names == ["high", "low"]
    assert sum(map(len, data.parts.values())) == 20
    clips = data.train.batch(torch.arange(len(data.train)))
    assert clips.dtype == torch.int16
    assert clips.shape == (len(data.train), 4_000)
    assert (clips[:, :700] == 0).all()  # 0.3 s in the middle of 0.5 s
    for clip, label in zip(clips, data.train.labels, strict=True):
        assert (torch.fft.rfft(clip.float()).abs().argmax() * RATE_HZ / 4_000 > 600) == (label == 0)
    assert any("1 files are left out as no recordings (1 .txt)" in note for note in data.notes)


def test_damaged_recordings_are_skipped_up_to_a_share(tmp_path: Path) -> None:
    folder(tmp_path, 20)
    (tmp_path / "low" / "3.wav").write_bytes(b"RIFFnothing")
    data = built(AudioFolderConfig(root=str(tmp_path), max_unreadable_share=0.05))
    assert any("1 of 40 files cannot be read" in note and "3.wav" in note for note in data.notes)
    with pytest.raises(InputError, match=r"more than data.max_unreadable_share=0.02"):
        built(AudioFolderConfig(root=str(tmp_path)))


def table(root: Path, text: str) -> Path:
    path = root / "clips.csv"
    path.write_text(text)
    return path


def test_a_table_names_spans_groups_and_parts(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", seconds=4.0)
    write(tmp_path / "other.wav", seconds=1.0)
    text = "path,label,start,end,group\nlong.wav,a,0,0.5,x\nlong.wav,b,1.0,1.25,x\nother.wav,a,,,y\nother.wav,b,0.75,,z\n"
    collection = find(AudioFolderConfig(root=str(table(tmp_path, text))))
    assert collection.class_names == ["a", "b"]
    assert collection.groups == ["x", "x", "y", "z"]
    assert collection.durations_s.tolist() == [0.5, 0.25, 1.0, 0.25]
    assert [len(collection.read(index, RATE_HZ)) for index in range(4)] == [4_000, 2_000, 8_000, 2_000]
    assert collection.names == ["long.wav@0-0.5", "long.wav@1-1.25", "other.wav", "other.wav@0.75-"]
    assert len(set(collection.digests.tolist())) == 4
    whole = collection.read(2, RATE_HZ)
    assert np.array_equal(collection.read(3, RATE_HZ), whole[6_000:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\n", "has no rows"),
        ("file,start\nlong.wav,0\n", "lacks the column label"),
        ("path,label\nlong.wav,\n", "line 2: path or label is empty"),
        ("path,label,start,end\nlong.wav,a,1,0.5\n", "line 2: end 0.5 is not after start 1"),
        ("path,label,start\nlong.wav,a,soon\n", "line 2: could not convert"),
        ("path,label,start\nlong.wav,a,nan\n", "is not a time in seconds"),
        ("path,label,part\nlong.wav,a,best\n", "line 2: part 'best' is none of"),
        ("path,label\nlong.wav,a\nlong.wav,a\n", "one class, a"),
    ],
)
def test_a_table_that_is_wrong_names_the_line(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path / "long.wav")
    with pytest.raises(InputError, match=expected):
        find(AudioFolderConfig(root=str(table(tmp_path, text))))


# -------------------------------------------------------------------------------------------------------------- splits


def grouped(root: Path) -> Path:
    rows = ["path,label,group"]
    for group in "abcdefgh":
        for index in range(4):
            name = f"{group}{index}.wav"
            write(root / name, hz=300.0 + 100 * index + ord(group))
            rows.append(f"{name},{'xy'[index % 2]},{group}")
    return table(root, "\n".join(rows))


def groups_of(collection: AudioCollection, config: AudioFolderConfig) -> list[set[str]]:
    parts = assign_parts(collection, config)
    return [{collection.groups[index] for index in np.flatnonzero(parts == part)} for part in (TRAIN, VALIDATION, TEST)]


def test_a_group_lies_in_one_part(tmp_path: Path) -> None:
    root = str(grouped(tmp_path))
    collection = find(AudioFolderConfig(root=root))
    sets = groups_of(collection, AudioFolderConfig(root=root, test_share=0.25, validation_share=0.2))
    assert [len(part) for part in sets] == [5, 1, 2]
    assert set.union(*sets) == set("abcdefgh")
    held = groups_of(collection, AudioFolderConfig(root=root, holdout="c, f"))
    assert held[2] == {"c", "f"}
    assert not held[0] & held[1]
    tested = [groups_of(collection, AudioFolderConfig(root=root, folds=4, fold=fold))[2] for fold in range(4)]
    assert sum(map(len, tested)) == 8
    assert set.union(*tested) == set("abcdefgh")
    with pytest.raises(UsageError, match=r"data.holdout=aa is no group of the data"):
        assign_parts(collection, AudioFolderConfig(root=root, holdout="aa"))
    with pytest.raises(UsageError, match="both make the test part"):
        AudioFolderConfig(root=root, holdout="a", folds=2)


def test_groups_of_one_class_each_leave_every_class_in_every_part(tmp_path: Path) -> None:
    rows = ["path,label,group"]
    for label in "xyz":
        for group in range(4):
            for index in range(3):
                write(tmp_path / f"{label}{group}{index}.wav", hz=300.0 + 50 * index + 13 * group + ord(label))
                rows.append(f"{label}{group}{index}.wav,{label},{label}{group}")
    root = str(table(tmp_path, "\n".join(rows)))
    collection = find(AudioFolderConfig(root=root))
    for settings in ({}, {"folds": 4, "fold": 1}, {"folds": 4, "fold": 3}, {"split_seed": 5}):
        config = AudioFolderConfig(root=root, **settings)
        parts = assign_parts(collection, config)
        for part in (TRAIN, VALIDATION, TEST):
            assert set(collection.labels[parts == part].tolist()) == {0, 1, 2}
        assert not set.intersection(*groups_of(collection, config)[:2])
        assert not groups_of(collection, config)[0] & groups_of(collection, config)[2]


def test_spans_of_one_file_lie_in_one_part(tmp_path: Path) -> None:
    rows = ["path,label,start,end"]
    for number in range(8):
        write(tmp_path / f"{number}.wav", seconds=2.0, hz=300.0 + number)
        rows += [f"{number}.wav,{'ab'[part % 2]},{part * 0.5},{part * 0.5 + 0.5}" for part in range(4)]
    collection = find(AudioFolderConfig(root=str(table(tmp_path, "\n".join(rows)))))
    assert collection.groups == [f"{number}.wav" for number in range(8) for _ in range(4)]
    sets = groups_of(collection, AudioFolderConfig())
    assert sum(map(len, sets)) == len(set.union(*sets)) == 8


def test_fsdd_has_its_official_test_its_blocks_and_its_speakers(tmp_path: Path) -> None:
    for digit in range(3):
        for speaker in ("anna", "bert"):
            for index in range(10):
                write(
                    tmp_path / "fsdd" / "recordings" / f"{digit}_{speaker}_{index}.wav",
                    hz=200.0 + 37 * digit + index + 500 * (speaker == "bert"),
                )
    root = str(tmp_path / "fsdd")
    collection = domains.find(FSDDConfig(root=root))
    assert isinstance(collection, AudioCollection)
    tested = np.flatnonzero(assign_parts(collection, FSDDConfig(root=root)) == TEST)
    assert {int(collection.names[index].split("_")[2][:-4]) for index in tested} == set(range(5))
    second = np.flatnonzero(assign_parts(collection, FSDDConfig(root=root, folds=2, fold=1, validation_share=0)) == TEST)
    assert {int(collection.names[index].split("_")[2][:-4]) for index in second} == set(range(5, 10))
    anna = np.flatnonzero(assign_parts(collection, FSDDConfig(root=root, holdout="anna", validation_share=0)) == TEST)
    assert {collection.groups[index] for index in anna} == {"anna"}


def test_fsdd_is_downloaded_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "0_anna_0.wav")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "0_anna_0.wav", "free-spoken-digit-dataset-1.0.10/recordings/0_anna_0.wav")
    monkeypatch.setattr(sounds.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(archive.getvalue()))
    root = tmp_path / "data" / "fsdd"
    with pytest.raises(InputError, match=r"fsdd is not in .* cannot be downloaded .*not the data set"):
        domains.find(FSDDConfig(root=str(root)))
    assert not root.exists()
    content = (tmp_path / "0_anna_0.wav").read_bytes()
    digest = hashlib.sha256(b"0_anna_0.wav\0" + hashlib.sha256(content).digest()).hexdigest()
    monkeypatch.setattr(sounds, "FSDD_DIGEST", digest)
    sounds.download_fsdd(root / "recordings")
    assert [path.name for path in (root / "recordings").iterdir()] == ["0_anna_0.wav"]
    assert [path.name for path in root.iterdir()] == ["recordings"]


def test_speech_commands_follows_its_lists_in_35_and_12_classes(tmp_path: Path) -> None:
    for word in ("yes", "no", "bird"):
        for index in range(6):
            write(tmp_path / word / f"{index:02d}_nohash_0.wav", hz=300.0 + index)
    write(tmp_path / "_background_noise_" / "hiss.wav", seconds=3.0)
    (tmp_path / "validation_list.txt").write_text("yes/00_nohash_0.wav\nno/00_nohash_0.wav\nbird/00_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("yes/01_nohash_0.wav\nno/01_nohash_0.wav\nbird/01_nohash_0.wav\n")
    all_words = domains.find(SpeechCommandsConfig(root=str(tmp_path)))
    assert all_words.class_names == ["bird", "no", "yes"]
    assert [int((all_words.given == part).sum()) for part in (TRAIN, VALIDATION, TEST)] == [12, 3, 3]
    assert domains.find(SpeechCommandsConfig(root=str(tmp_path), classes=12)).class_names == ["no", "silence", "unknown", "yes"]


def test_esc50_has_its_folds(tmp_path: Path) -> None:
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for label in ("dog", "rain"):
            name = f"{fold}-{label}.wav"
            write(tmp_path / "audio" / name, hz=300.0 + fold)
            rows.append(f"{name},{fold},0,{label},True,{fold}{label},A")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(rows))
    config = ESC50Config(root=str(tmp_path), fold=2, validation_share=0)
    collection = domains.find(config)
    tested = np.flatnonzero(assign_parts(collection, config) == TEST)
    assert {collection.names[index].split("/")[-1][0] for index in tested} == {"3"}


# ------------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("duration_s", "windows"), [(0.2, 1), (1.0, 1), (1.25, 1), (1.26, 2), (2.0, 2), (2.01, 3), (3.0, 3), (7.4, 8)]
)
def test_windows_cover_a_recording(duration_s: float, windows: int) -> None:
    spans = window_spans(duration_s, 1.0)
    assert len(spans) == windows
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(duration_s)
    assert len(spans) == 1 or all(end - start == pytest.approx(1.0) for start, end in spans)
    assert all(later[0] <= earlier[1] + 1e-9 for earlier, later in pairwise(spans))


def test_long_recordings_are_several_clips_of_one_part_and_judged_as_one(tmp_path: Path) -> None:
    folder(tmp_path)
    for index in range(5):
        write(tmp_path / "low" / f"long{index}.wav", seconds=1.75, hz=333.0 + index)
    collection = find(AudioFolderConfig(root=str(tmp_path)))
    clips = collection.windows(0.5)
    assert len(clips) == 20 + 5 * 4
    long = [index for index, name in enumerate(clips.names) if "long0" in name]
    assert [clips.names[index] for index in long] == [
        f"low/long0.wav@{a:g}-{b:g}" for a, b in ((0, 0.5), (0.5, 1), (1, 1.5), (1.25, 1.75))
    ]
    assert len({int(clips.units()[index]) for index in long}) == 1
    assert [len(clips.read(index, RATE_HZ)) for index in long] == [4_000] * 4
    parts = assign_parts(clips, AudioFolderConfig())
    for unit in set(clips.units().tolist()):
        assert len(set(parts[clips.units() == unit].tolist())) == 1


# ---------------------------------------------------------------------------------------------------------- bell types


def test_bell_types_are_the_same_every_time_and_every_kind_is_heard() -> None:
    collection = domains.find(BellTypesConfig())
    assert collection.class_names == CLASS_NAMES
    assert [int((collection.given == part).sum()) for part in (TRAIN, VALIDATION, TEST)] == list(bell_types.CLIPS.values())
    first = bell_types.fixed_clips(TEST, 3, 22_050)
    assert np.array_equal(first, bell_types.fixed_clips(TEST, 3, 22_050))
    assert not np.array_equal(first, bell_types.fixed_clips(TEST, 4, 22_050))
    assert not np.array_equal(first, bell_types.fixed_clips(TRAIN, 3, 22_050))
    assert first.shape == (bell_types.BATCH, 44_100)
    assert (np.abs(first.astype(int)).max(axis=1) > 100).all()
    index = int(np.flatnonzero(collection.given == TEST)[307])
    assert np.array_equal(collection.read(index, 22_050), first[7])  # type: ignore[attr-defined]


def test_the_test_of_bell_types_lies_outside_the_training() -> None:
    trained, tested = bell_types.TRAINED, bell_types.TESTED
    span = trained.pitch_classes[1] - trained.pitch_classes[0]
    assert 0 < span < 12
    for pitch in np.linspace(*tested.pitch_classes, 20)[1:-1]:
        assert (pitch - trained.pitch_classes[0]) % 12 > span
    for name in ("spread", "transient_db"):
        assert getattr(tested, name)[0] >= getattr(trained, name)[1]
    for low, high in tested.decay:
        assert all(high <= least or low >= most for least, most in trained.decay)
    assert bell_types.TESTED_PLACE.t60_s[0] >= bell_types.TRAINED_PLACE.t60_s[1]


def test_decays_are_drawn_from_every_interval_and_from_nowhere_else() -> None:
    drawn = within(((0.2, 1.6), (2.0, 4.0)), 1_000, generator(0, "within"))
    lower, upper = (drawn >= 0.2) & (drawn <= 1.6), (drawn >= 2.0) & (drawn <= 4.0)
    assert (lower | upper).all()
    assert 400 < int(lower.sum()) < 600
    assert float(drawn[lower].std()) > 0.3
    assert float(drawn[upper].std()) > 0.4


def test_a_clip_cut_short_is_its_beginning_in_the_middle_of_silence() -> None:
    waves = torch.arange(1.0, 1_001.0).repeat(50, 1)
    cut = bell_types.cut_short(waves, generator(0, "cut"))
    for clip in cut:
        heard = clip.nonzero()[:, 0]
        start, end = int(heard[0]), int(heard[-1]) + 1
        assert torch.equal(clip[start:end], waves[0, : end - start])
        assert abs(start - (1_000 - end)) <= 1
    lengths = (cut > 0).sum(dim=1)
    assert 400 <= lengths.min() < 500
    assert 900 < lengths.max() <= 1_000


def test_bell_batches_never_end_and_are_a_pure_function_of_seed_and_step() -> None:
    config = BellTypesConfig()
    collection = domains.find(config)
    few = collection.keep(np.arange(len(collection)) % 50 < 5)
    data = build(few, config, AudioView(RATE_HZ, 8_000))
    augment = EndlessBells(WaveAugment(AudioAugmentConfig(), len(CLASS_NAMES), RATE_HZ))

    def batches(start: int) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
        found = TrainingBatches(data.train, 32, 3, 5, augment, torch.device("cpu"))
        found.load_state_dict({"step": start})
        return list(found)

    whole = batches(0)
    for (a, b, c), (d, e, f) in zip(whole[4:], batches(4), strict=True):
        assert c == f
        assert torch.equal(a, d)
        assert torch.equal(b, e)
    clips = torch.cat([inputs for inputs, *_ in whole])
    assert clips.isfinite().all()
    assert len(torch.unique(clips, dim=0)) == len(clips)
