"""Folders of pictures: found, checked, split for good, decoded once, and handed out as a pure function of (seed, step)."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from hemony import domains
from hemony.config import CIFAR10Config, DigitsConfig, Fit, Flip, ImageAugmentConfig, ImageFolderConfig, MNISTConfig
from hemony.datasets import folder, image_augment, mixing, symmetry
from hemony.datasets.collection import TEST, TRAIN, UNASSIGNED, VALIDATION, ImageCollection
from hemony.datasets.image_augment import ImageAugment
from hemony.datasets.images import scan_folder
from hemony.datasets.parts import Data, Part, build, decode_collection
from hemony.datasets.resident import PlainBatches, TrainingBatches
from hemony.datasets.seeding import generator
from hemony.datasets.split import assign_parts, duplicate_notes
from hemony.errors import InputError
from hemony.media import image
from hemony.preprocessing import ImageView

Make = Callable[..., Path]


def built(root: Path, **settings: object) -> Data:
    config = ImageFolderConfig(root=str(root), **settings)  # type: ignore[arg-type]
    return build(domains.find(config), config, ImageView(3, 16, Fit.stretch))


# ------------------------------------------------------------------------------------------------------------ layouts


def test_classes_alone_are_split_three_ways_and_stratified(shapes_folder: Make) -> None:
    data = built(shapes_folder(each=20))
    counts = data.summary()["splits"]
    assert counts["test"] == {"bar": 3, "disc": 3, "ring": 3}
    assert counts["validation"] == {"bar": 2, "disc": 2, "ring": 2}
    assert counts["train"] == {"bar": 15, "disc": 15, "ring": 15}


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val", "test"), ("Training", "valid"), ("train",)])
def test_given_parts_stay_and_missing_ones_are_taken_from_training(shapes_folder: Make, parts: tuple[str, ...]) -> None:
    data = built(shapes_folder(each=20, parts=parts))
    for name, part in data.parts.items():
        tops = {path.split("/")[0] for path in part.collection.names}
        wanted = {"train": 0, "validation": 1, "test": 2}[name]
        own = {top for top in parts if {"t": 2 if top.lower() == "test" else 0, "v": 1}[top[0].lower()] == wanted}
        assert tops == (own or {parts[0]})
        assert len(part) > 0


def test_the_split_follows_the_content_alone(shapes_folder: Make) -> None:
    first = built(shapes_folder(each=20, name="one"))
    root = shapes_folder(each=20, name="two")
    for path in list(root.rglob("*.png")):
        path.rename(path.with_name(f"renamed-{path.stat().st_ino}.png"))
    second = built(root)
    for name in first.parts:
        assert set(first.parts[name].collection.digests) == set(second.parts[name].collection.digests)
    other_seed = built(root, split_seed=1)
    assert set(other_seed.test.collection.digests) != set(second.test.collection.digests)


def test_folds_cover_every_image_once(shapes_folder: Make) -> None:
    root = shapes_folder(each=11)
    seen = np.concatenate([built(root, folds=3, fold=fold).test.collection.digests for fold in range(3)])
    assert len(seen) == len(set(seen)) == 33


def test_a_class_may_be_called_train(shapes_folder: Make) -> None:
    root = shapes_folder()
    (root / "bar").rename(root / "train")
    assert scan_folder(root).class_names == ["disc", "ring", "train"]


def wrap_in_a_folder(root: Path) -> None:
    (root / "all").mkdir()
    for name in ("bar", "disc", "ring"):
        (root / name).rename(root / "all" / name)


def leave_only_val_and_test(root: Path) -> None:
    for part, name in (("val", "bar"), ("test", "disc")):
        (root / part).mkdir()
        (root / name).rename(root / part / name)
    (root / "ring").rename(root / ".ring")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda root: [path.unlink() for path in (root / "disc").iterdir()], "disc holds no picture"),
        (lambda root: [path.rename(path.with_suffix(".txt")) for path in root.rglob("*.png")], "holds no picture"),
        (
            lambda root: [path.unlink() for path in sorted((root / "disc").iterdir())[1:]],
            "class 'disc' has no image in the train part",
        ),
        (lambda root: (root / "disc").rename(root / ".disc") and (root / "ring").rename(root / ".ring"), "needs at least two$"),
        (wrap_in_a_folder, "name that one: data.root=.*shapes/all"),
        (lambda root: os.rename(os.fsencode(root / "disc"), os.fsencode(root) + b"/d\xefsc"), "is not text"),
        (leave_only_val_and_test, "holds test and val, but no train"),
    ],
)
def test_folders_that_cannot_be_used_are_refused_by_name(
    shapes_folder: Make, spoil: Callable[[Path], object], expected: str
) -> None:
    root = shapes_folder()
    spoil(root)
    with pytest.raises(InputError, match=expected):
        built(root)


def test_a_class_missing_from_one_part_is_an_error_not_a_shifted_label(shapes_folder: Make) -> None:
    root = shapes_folder(parts=("train", "test"))
    (root / "test" / "disc").rename(root / "test" / ".disc")
    with pytest.raises(InputError, match="test lacks the class folder disc"):
        built(root)


@pytest.mark.parametrize("root", ["nowhere", "file", "empty"])
def test_roots_that_are_none(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder"):
        built(tmp_path / root)


# ------------------------------------------------------------------------------------------- bad files and duplicates


def test_unreadable_files_are_named_and_skipped_up_to_a_share(shapes_folder: Make) -> None:
    root = shapes_folder(each=20)
    (root / "disc" / "000.png").write_bytes(b"not a picture")
    cut = root / "ring" / "000.png"
    cut.write_bytes(cut.read_bytes()[:-200])  # its header is fine: only decoding finds out
    data = built(root, max_unreadable_share=0.05)
    notes = [line for line in data.notes if "cannot be read" in line]
    assert ["1 of 60" in note for note in notes] == [True, True]
    assert "disc/000.png" in notes[0]
    assert "ring/000.png" in notes[1]
    assert sum(map(len, data.parts.values())) == 58
    with pytest.raises(InputError, match=r"2 of 60 files .* more than data.max_unreadable_share=0.02"):
        built(root, max_unreadable_share=0.02)


def test_a_part_of_a_folder_is_not_blamed_for_the_unreadable_files_of_the_others(shapes_folder: Make) -> None:
    root = shapes_folder(each=20)
    for shape in ("disc", "ring"):
        (root / shape / "000.png").write_bytes(b"not a picture")
    config = ImageFolderConfig(root=str(root), max_unreadable_share=0.05)
    collection = domains.find(config)
    few = collection.keep(np.arange(len(collection)) < 10)
    for _ in range(2):  # whoever reads first leaves nothing behind for the next
        kept, _ = decode_collection(few, config, ImageView(3, 16, Fit.stretch))
        assert len(kept) == 10
        assert ["2 of 60 files" in note for note in kept.notes] == [True]
    with pytest.raises(InputError, match=r"2 of 60 files .* more than data.max_unreadable_share=0.02"):
        domains.find(ImageFolderConfig(root=str(root)))


def test_a_folder_without_a_readable_picture_is_refused(shapes_folder: Make) -> None:
    root = shapes_folder(each=3)
    for path in root.rglob("*.png"):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(InputError, match="none of the 9 files"):
        domains.find(ImageFolderConfig(root=str(root), max_unreadable_share=1.0))


def test_what_is_no_image_is_counted_by_suffix(shapes_folder: Make) -> None:
    root = shapes_folder(each=10)
    for index in range(4):
        (root / "disc" / f"{index}.heic").touch()
    (root / "ring" / "notes").touch()
    os.close(os.open(os.fsencode(root) + b"/ring/x.j\xe9g", os.O_CREAT))
    (note,) = [line for line in built(root).notes if "left out" in line]
    assert note.startswith("6 files are left out as no images (4 .heic, 1 ")
    assert note.isprintable()


def test_an_unreadable_file_is_read_again_the_next_time(shapes_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shapes_folder(each=20)

    def fail(*_: object) -> None:
        raise InputError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(image, "probe_image", fail)
        with pytest.raises(InputError):
            built(root)
    assert sum(map(len, built(root).parts.values())) == 60


def test_copies_stay_in_one_part_and_leaks_are_reported(shapes_folder: Make) -> None:
    root = shapes_folder(each=20)
    for index in range(5):
        (root / "disc" / f"copy-{index}.png").write_bytes((root / "disc" / "000.png").read_bytes())
    data = built(root)
    homes = [name for name, part in data.parts.items() if any("copy" in path for path in part.collection.names)]
    assert len(homes) == 1
    assert any("5 files are exact copies" in line for line in data.notes)

    leaky = shapes_folder(each=20, parts=("train", "test"), name="leaky")
    (leaky / "test" / "disc" / "leak.png").write_bytes((leaky / "train" / "disc" / "000.png").read_bytes())
    (leaky / "train" / "ring" / "clash.png").write_bytes((leaky / "train" / "bar" / "000.png").read_bytes())
    apart = built(leaky)
    assert not any("leak" in name for part in apart.parts.values() for name in part.collection.names)
    assert len(apart.test) == 60
    notes = apart.notes
    assert any("1 exact duplicates lie in more than one part" in line and "leak.png" in line for line in notes)
    assert any("1 exact duplicates bear different labels" in line and "clash.png" in line for line in notes)


def test_imbalance_is_said(shapes_folder: Make) -> None:
    root = shapes_folder(each=20)
    for path in sorted((root / "disc").iterdir())[5:]:
        path.unlink()
    assert any("imbalanced: bar has 20 images, disc 5 (ratio 4.0)" in line for line in built(root).notes)


# ---------------------------------------------------------------------------------------------------------- the cache


def everything(part: Part) -> torch.Tensor:
    return part.batch(torch.arange(len(part)), threads=2)


def test_files_are_decoded_once_and_again_only_when_they_change(shapes_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shapes_folder(each=8)
    first = built(root)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(image, "read_image", refuse)
        patch.setattr(image, "probe_image", refuse)
        second = built(root)
    assert torch.equal(everything(first.train), everything(second.train))
    time.sleep(0.01)
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(root / "disc" / "000.png")
    assert any((everything(part).amax(dim=(1, 2, 3)) == 0).any() for part in built(root).parts.values())
    for shade in (1, 2, 3):
        time.sleep(0.01)
        Image.fromarray(np.full((16, 16, 3), shade, dtype=np.uint8)).save(root / "disc" / "000.png")
        built(root)
    assert len(list((folder.cache_folder() / "decoded").glob("*.npy"))) == 2, (
        "what was decoded before the folder changed is not kept"
    )


def test_a_damaged_image_is_tried_again_and_the_others_are_not(shapes_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shapes_folder(each=20)
    path = root / "ring" / "000.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])  # its header is fine
    read, reads = image.read_image, []

    def count(*arguments: object) -> object:
        reads.append(arguments)
        return read(*arguments)  # type: ignore[arg-type]

    for expected in (60, 1, 1):
        reads.clear()
        with monkeypatch.context() as patch:
            patch.setattr(image, "read_image", count)
            assert len(built(root, max_unreadable_share=0.05, colour=True).train) > 0
        assert len(reads) == expected


def test_a_set_beyond_the_memory_budget_is_streamed_and_gives_the_same_batches(shapes_folder: Make) -> None:
    root = shapes_folder(each=8)
    resident, streamed = built(root), built(root, memory_budget_gib=1e-6)
    assert resident.train.store is not None
    assert streamed.train.store is None
    assert any("streamed through workers" in line for line in streamed.notes)
    for (a, b, _), (c, d, _) in zip(batches_of(resident), batches_of(streamed, workers=2), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    plain = [torch.cat([x for x, _ in PlainBatches(data.test, 4, torch.device("cpu"), 1)]) for data in (resident, streamed)]
    assert torch.equal(*plain)


def batches_of(data: Data, start: int = 0, seed: int = 3, workers: int = 0) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    config = ImageAugmentConfig(
        flip=Flip.alternating,
        shift_px=2,
        rotate_degrees=5.0,
        cutout_px=4,
        mixup_alpha=0.3,
        cutmix_alpha=1.0,
        colour_share=0.2,
        small_px=12,
    )
    flip_bits = torch.arange(len(data.train)) % 2 == 0
    found = TrainingBatches(data.train, 4, 3, seed, ImageAugment(config, 3, (0.5,) * 3, flip_bits), torch.device("cpu"), workers)
    found.load_state_dict({"step": start})
    return list(found)


def test_a_batch_is_a_pure_function_of_seed_and_step(shapes_folder: Make) -> None:
    data = built(shapes_folder(each=8))
    whole = batches_of(data)
    assert [step for *_, step in whole] == list(range(len(whole)))
    assert [len(images[0, 0]) for images, *_ in whole] == [12 if step < 0.6 * len(whole) else 16 for *_, step in whole]
    for start in (1, len(whole) // 3, len(whole) - 1):
        for (a, b, c), (d, e, f) in zip(whole[start:], batches_of(data, start), strict=True):
            assert c == f
            assert torch.equal(a, d)
            assert torch.equal(b, e)
    assert not torch.equal(whole[0][0], batches_of(data, seed=4)[0][0])


# ------------------------------------------------------------------------------------------------------- augmentation


def ramp(count: int = 4, size: int = 8) -> torch.Tensor:
    return torch.arange(count * 3 * size * size).reshape(count, 3, size, size).remainder(251).to(torch.uint8)


def test_without_shift_and_flip_nothing_changes() -> None:
    images_in = ramp()
    assert torch.equal(image_augment.crop_and_flip(images_in, 0, torch.zeros(4, dtype=torch.bool), generator(0, "x")), images_in)
    assert torch.equal(
        image_augment.crop_and_flip(images_in, 0, torch.ones(4, dtype=torch.bool), generator(0, "x")), images_in.flip(-1)
    )


def test_a_shift_is_a_crop_of_the_reflected_image() -> None:
    images_in = ramp(count=64)
    padded = torch.nn.functional.pad(images_in.float(), (2, 2, 2, 2), mode="reflect").to(torch.uint8)
    moved = image_augment.crop_and_flip(images_in, 2, torch.zeros(64, dtype=torch.bool), generator(0, "x"))
    places = set()
    for shown, wide in zip(moved, padded, strict=True):
        fits = [(y, x) for y in range(5) for x in range(5) if torch.equal(shown, wide[:, y : y + 8, x : x + 8])]
        assert fits
        places.add(fits[0])
    assert len(places) > 15  # of 25


def test_alternating_flips_show_both_sides_in_two_epochs() -> None:
    bits = torch.tensor([True, False, True])
    assert torch.equal(image_augment.mirrored(Flip.alternating, bits, 0), ~image_augment.mirrored(Flip.alternating, bits, 1))
    assert not image_augment.mirrored(Flip.none, bits, 0).any()


def test_cutout_blanks_one_square() -> None:
    blanked = image_augment.cut_out(torch.full((50, 3, 16, 16), 9.0), 6, torch.full((3, 1, 1), 77.0), generator(0, "x"))
    holes = (blanked == 77).all(dim=1).sum(dim=(1, 2))
    assert int(holes.max()) == 36
    assert int(holes.min()) >= 9  # at a corner


@pytest.mark.parametrize("mix", [mixing.mixup, image_augment.cutmix])
def test_mixed_targets_are_shares_that_match_the_pixels(mix: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
    classes = torch.arange(8)
    images_in = (classes * 30.0)[:, None, None, None].expand(8, 3, 16, 16)
    targets = torch.nn.functional.one_hot(classes, 8).float()
    for step in range(20):
        mixed, shares = mix(images_in, targets, 1.0, generator(0, "mix", step))
        assert torch.allclose(shares.sum(dim=1), torch.ones(8))
        assert torch.allclose(mixed.mean(dim=(1, 2, 3)), (shares * classes * 30.0).sum(dim=1), atol=1e-3)


def test_turning_by_nothing_is_no_change_and_scaling_keeps_the_centre() -> None:
    images_in = ramp().float()
    assert torch.allclose(image_augment.rotate_and_scale(images_in, 0.0, 0.0, generator(0, "x")), images_in, atol=1e-3)
    flat = torch.full((4, 1, 8, 8), 100.0)
    assert torch.allclose(image_augment.rotate_and_scale(flat, 45.0, 0.3, generator(0, "x")), flat, atol=1e-3)


def test_beta_draws_have_the_right_spread() -> None:
    draws = np.array([mixing.mixing_share(0.5, generator(0, "beta", step)) for step in range(2000)])
    assert abs(draws.mean() - 0.5) < 0.03
    assert abs(draws.var() - 1 / (4 * (2 * 0.5 + 1))) < 0.01  # the variance of Beta(a, a) is 1 / (4 (2a + 1))


# ----------------------------------------------------------------------------------------------------------- symmetry


def test_the_mirror_test_sees_that_digits_have_a_side_and_that_shapes_have_none(shapes_folder: Make) -> None:
    collection = domains.find(DigitsConfig())
    data = build(collection, DigitsConfig(), ImageView(1, 8, Fit.stretch))
    assert not symmetry.mirror_test(data.train, 0)[0]
    assert symmetry.mirror_test(built(shapes_folder(each=100)).train, 0)[0]


def test_colour_pictures_are_mirrored_unless_that_does_harm_and_grey_ones_only_where_it_does_none(shapes_folder: Make) -> None:
    root = shapes_folder(each=100)
    for path in (root / "ring").iterdir():  # a class that has a side: the left half is black
        pixels = np.array(Image.open(path))
        pixels[:, :8] = 0
        Image.fromarray(pixels).save(root / "disc" / f"ring-{path.name}")
        Image.fromarray(np.ascontiguousarray(pixels[:, ::-1])).save(path)
    for path in (root / "disc").glob("0*.png"):
        path.unlink()
    config = ImageFolderConfig(root=str(root))
    for channels in (1, 3):
        sided = build(domains.find(config), config, ImageView(channels, 16, Fit.stretch))
        assert not symmetry.mirror_test(sided.train, 0)[0]
    few = ImageFolderConfig(root=str(shapes_folder(each=6, name="few")))
    for channels in (1, 3):  # too few to tell
        assert symmetry.mirror_test(build(domains.find(few), few, ImageView(channels, 16, Fit.stretch)).train, 0)[0] is (
            channels == 3
        )


# --------------------------------------------------------------------------------------------------------- named sets


def test_digits_are_those_of_scikit_learn() -> None:
    collection = domains.find(DigitsConfig())
    scans = load_digits()
    assert len(collection) == 1797
    assert np.array_equal(collection.labels, scans.target)
    assert np.array_equal(np.rint(collection.read(17, 1, None)[:, :, 0] / (255 / 16)), scans.images[17])


def test_a_named_set_is_found_as_class_folders(shapes_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shapes_folder(parts=("train", "test"), name="data/cifar10")
    monkeypatch.setenv("HEMONY_DATA", str(root.parent))
    assert domains.find(CIFAR10Config()).class_names == ["bar", "disc", "ring"]
    monkeypatch.delenv("HEMONY_DATA")
    monkeypatch.chdir(root.parent.parent)
    assert len(domains.find(CIFAR10Config())) == 120


def test_a_named_set_that_is_not_there_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    from torchvision.datasets import mnist, utils

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(utils, "_urlretrieve", offline)
    monkeypatch.setattr(mnist, "download_and_extract_archive", offline)
    root = tmp_path / "mnist"
    with pytest.raises(InputError, match="put train/CLASS") as caught:
        domains.find(MNISTConfig(root=str(root)))
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------ split details


def collection_of(labels: list[int], given: int = UNASSIGNED) -> ImageCollection:
    count = len(labels)
    return ImageCollection(
        class_names=[str(label) for label in sorted(set(labels))],
        names=[str(index) for index in range(count)],
        labels=np.array(labels),
        digests=np.arange(count, dtype=np.uint64),
        given=np.full(count, given),
        sizes=np.ones((count, 2), dtype=np.int64),
        colour=np.zeros(count, dtype=bool),
        read=lambda index, channels, least_size_px: np.zeros((1, 1, channels), dtype=np.uint8),
    )


def test_shares_are_kept_to_within_an_image() -> None:
    collection = collection_of([0] * 100 + [1] * 1000)
    parts = assign_parts(collection, DigitsConfig(test_share=0.2, validation_share=0.1))
    for label, total in ((0, 100), (1, 1000)):
        own = parts[collection.labels == label]
        assert (own == TEST).sum() == total * 0.2
        assert (own == VALIDATION).sum() == total * 0.8 * 0.1
        assert (own == TRAIN).sum() > total * 0.6
    assert duplicate_notes(collection, parts) == []
