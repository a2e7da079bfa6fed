"""The dataclasses that every configuration must fit, with units and ranges beside each field.

Hydra composes the YAML files of `configs/` and the command line; `typed` merges the outcome into these dataclasses, so that an
unknown key, a wrong type or a value out of range fails before any data is read. `None` means "chosen from the data"
(`hemony.recipe` chooses, and says what it chose). How Hydra is called is in `hemony.compose`.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hemony.errors import UsageError


def ranged(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with its range: `least <= value <= most` (closed ends), `above < value < below` (open ends)."""
    return field(default=default, metadata={"least": least, "most": most, "above": above, "below": below})


class Checked:
    """Checks every `ranged` field as soon as all fields are there. `PLACE` is the dotted path of the config group."""

    PLACE = ""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, entry.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            name = f"{self.PLACE}.{entry.name}" if self.PLACE else entry.name
            if not math.isfinite(value):
                raise UsageError(f"{name}={value} is not a finite number")
            limits = entry.metadata
            checks = (
                ("least", value >= (limits.get("least") or 0), "at least"),
                ("most", value <= (limits.get("most") or 0), "at most"),
                ("above", value > (limits.get("above") or 0), "above"),
                ("below", value < (limits.get("below") or 0), "below"),
            )
            for key, holds, words in checks:
                if limits.get(key) is not None and not holds:
                    raise UsageError(f"{name}={value} is out of range: it must be {words} {limits[key]:g}")


# ---------------------------------------------------------------------------------------------------------------- data


class Fit(Enum):
    """How an image that is not square becomes one."""

    stretch = "stretch"  # resize both sides, whatever the aspect ratio
    crop = "crop"  # resize the shorter side, keep the centre
    pad = "pad"  # resize the longer side, fill up with the mean of the border


class Flip(Enum):
    """Mirroring left to right."""

    none = "none"
    random = "random"  # each image with probability 1/2
    alternating = "alternating"  # a random half in even epochs, the other half in odd ones (Jordan 2024, section 3.6)


@dataclass
class DataConfig(Checked):
    """What all data sets have. `kind` names the class, and the folder under `$HEMONY_DATA` or `data/`."""

    PLACE = "data"

    kind: str = "?"
    root: str | None = None  # folder of the data; by default $HEMONY_DATA/KIND, else data/KIND
    validation_share: float = ranged(0.1, least=0.0, below=0.9)  # of the training part, where none is given; 0: no validation
    test_share: float = ranged(0.15, above=0.0, below=0.9)  # of all, where no test part is given
    split_seed: int = ranged(0, least=0)
    folds: int = ranged(0, least=0, most=100)  # k of a k-fold cross-validation; 0: one split
    fold: int = ranged(0, least=0, most=99)  # which fold is the test part
    holdout: str | None = None  # groups (speakers, recordings) that are the test part, separated by commas
    max_unreadable_share: float = ranged(0.02, least=0.0, most=1.0)  # more unreadable files than this is an error
    memory_budget_gib: float = ranged(4.0, above=0.0)  # decoded data larger than this is streamed through workers
    workers: int | None = ranged(None, least=0, most=256)  # decoding processes of a streamed set; None: one a core

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds == 1 or (self.folds and self.fold >= self.folds):
            raise UsageError(
                f"data.fold={self.fold} of data.folds={self.folds}: folds must be 0 (off) or at least 2, and fold below it"
            )
        if self.folds and self.holdout:
            raise UsageError(
                f"data.holdout={self.holdout} and data.folds={self.folds} both make the test part: set data.folds=0, or leave data.holdout out"
            )


@dataclass
class ImageAugmentConfig(Checked):
    """What is done to a training batch of images on the device. `None` is chosen from the data; 0 and `none` are off."""

    PLACE = "data.augment"

    flip: Flip | None = None
    shift_px: int | None = ranged(None, least=0, most=64)  # random crop after padding by reflection
    rotate_degrees: float | None = ranged(None, least=0.0, most=180.0)  # drawn from ± this
    scale_share: float | None = ranged(None, least=0.0, most=0.9)  # size drawn from 1 ± this
    cutout_px: int | None = ranged(None, least=0, most=256)  # side of the square that is blanked
    mixup_alpha: float | None = ranged(None, least=0.0, most=10.0)  # Beta(alpha, alpha), Zhang et al. 2018
    cutmix_alpha: float | None = ranged(None, least=0.0, most=10.0)  # Beta(alpha, alpha), Yun et al. 2019
    colour_share: float | None = ranged(None, least=0.0, most=0.9)  # brightness, contrast, saturation from 1 ± this
    small_px: int | None = ranged(None, least=0, most=512)  # side of the images in the first `small_share` of all steps; 0: off
    small_share: float = ranged(0.6, least=0.0, most=1.0)


@dataclass
class ImageDataConfig(DataConfig):
    """What all sets of images have."""

    size_px: int | None = ranged(None, least=8, most=512)  # side of the square that the network sees
    colour: bool | None = None  # None: as most of the files are
    fit: Fit | None = None
    augment: ImageAugmentConfig = field(default_factory=ImageAugmentConfig)


@dataclass
class DigitsConfig(ImageDataConfig):
    """1,797 scans of handwritten digits, 8x8, embedded in scikit-learn: no download."""

    kind: str = "digits"


@dataclass
class ImageFolderConfig(ImageDataConfig):
    """Your own pictures: one folder a class, with or without train/, val/ and test/ above them."""

    kind: str = "image_folder"


@dataclass
class CIFAR10Config(ImageDataConfig):
    kind: str = "cifar10"


@dataclass
class CIFAR100Config(ImageDataConfig):
    kind: str = "cifar100"


@dataclass
class MNISTConfig(ImageDataConfig):
    kind: str = "mnist"


@dataclass
class FashionMNISTConfig(ImageDataConfig):
    kind: str = "fashion_mnist"


@dataclass
class AudioAugmentConfig(Checked):
    """What is done to a training batch of waveforms on the device. `None` is chosen from the data; 0 is off."""

    PLACE = "data.augment"

    gain_db: float | None = ranged(None, least=0.0, most=60.0)  # louder or softer by up to this
    shift_s: float | None = ranged(None, least=0.0, most=60.0)  # earlier or later by up to this
    speed_share: float | None = ranged(None, least=0.0, most=0.5)  # 1 ± this times as fast, pitch and all
    formant_share: float | None = ranged(None, least=0.0, most=0.5)  # spectrum stretched 1 ± this: longer and shorter vocal tracts
    tempo_share: float | None = ranged(None, least=0.0, most=0.5)  # 1 ± this times as fast, pitch kept
    equaliser_db: float | None = ranged(None, least=0.0, most=40.0)  # a smooth response of the microphone, up to about ± this
    noise_share: float | None = ranged(None, least=0.0, most=1.0)  # of the clips get noise
    noise_least_snr_db: float = ranged(0.0, least=-20.0, most=60.0)
    noise_most_snr_db: float = ranged(30.0, least=-20.0, most=80.0)
    room_share: float | None = ranged(None, least=0.0, most=1.0)  # of the clips sound in a room
    room_most_t60_s: float = ranged(0.6, above=0.05, most=10.0)
    time_mask_s: float | None = ranged(None, least=0.0, most=10.0)  # longest gap cut out of the spectrogram (Park et al. 2019)
    frequency_mask_share: float | None = ranged(None, least=0.0, most=0.9)  # widest band cut out of it
    mixup_alpha: float | None = ranged(None, least=0.0, most=10.0)  # Beta(alpha, alpha), Zhang et al. 2018


@dataclass
class AudioDataConfig(DataConfig):
    """What all sets of recordings have."""

    sample_rate_hz: int | None = ranged(None, least=2_000, most=192_000)  # at which the network hears
    clip_s: float | None = ranged(None, above=0.0, most=60.0)  # that the network hears at a time; longer recordings are several
    augment: AudioAugmentConfig = field(default_factory=AudioAugmentConfig)


@dataclass
class AudioFolderConfig(AudioDataConfig):
    """Your own recordings: one folder a class, or a CSV table (root=FILE.csv) with path, label, start, end, group, fold, part."""

    kind: str = "audio_folder"


@dataclass
class BellTypesConfig(AudioDataConfig):
    """Synthetic strikes of four kinds of bell, and sounds that are none; embedded."""

    kind: str = "bell_types"


@dataclass
class FSDDConfig(AudioDataConfig):
    """3,000 spoken digits by six speakers, 8 kHz."""

    kind: str = "fsdd"


@dataclass
class SpeechCommandsConfig(AudioDataConfig):
    """Speech Commands v2 (Warden 2018)."""

    kind: str = "speech_commands"
    classes: int = 35  # or 12: ten words, silence, unknown

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes not in (12, 35):
            raise UsageError(f"data.classes={self.classes} must be 35 or 12")


@dataclass
class ESC50Config(AudioDataConfig):
    """2,000 environmental sounds in 50 classes and five folds (Piczak 2015)."""

    kind: str = "esc50"
    folds: int = ranged(5, least=0, most=100)  # its own; 0 with `holdout`, which names a recording that clips were cut from


class BellCondition(Enum):
    """Under which conditions of `hemony.bells.conditions` melodies are judged."""

    all = "all"
    clean = "clean"
    hard = "hard"
    harmonised = "harmonised"


class BellTunes(Enum):
    """Which tunes melodies are judged by."""

    unseen = "unseen"  # that no training meets
    known = "known"  # that every training meets, on other bells
    composed = "composed"  # by which a training is judged before it is done


@dataclass
class BellMelodiesConfig(DataConfig):
    """Synthetic melodies on bells that are off pitch; embedded. A training draws its own, `evaluate` judges by fixed ones."""

    kind: str = "bell_melodies"
    condition: BellCondition = BellCondition.all
    tunes: BellTunes = BellTunes.unseen
    repeats: int = ranged(4, least=1, most=100)  # of each tune on each kind of bell, with other bells and errors
    lines: int = ranged(24, least=1, most=4096)  # of notes in a step of training: what the sense of melody learns from
    recordings_every: int = ranged(3, least=1)  # steps, of which one has trainer.batch_size recordings, for the ear


@dataclass
class BellFolderConfig(DataConfig):
    """Your own recordings of melodies: pairs of X.wav (or another format) and X.json, which is its truth."""

    kind: str = "bell_folder"


# --------------------------------------------------------------------------------------------------------------- model


@dataclass
class ModelConfig(Checked):
    PLACE = "model"

    kind: str = "?"


@dataclass
class AutoConfig(ModelConfig):
    """Let the data choose the model."""

    kind: str = "auto"


@dataclass
class FastCNNConfig(ModelConfig):
    """Small and fast, for images of 8 to 64 pixels; see `hemony.models.fast_cnn`."""

    kind: str = "fast_cnn"
    width: float = ranged(1.0, above=0.0, most=16.0)  # multiplies the channels of every block
    depth: int | None = ranged(None, least=1, most=6)  # blocks, each halving the image; None: follows the image's size


@dataclass
class LeNet5Config(ModelConfig):
    """LeCun et al. 1998, with the connections of its third layer chosen as k-of-n combinations."""

    kind: str = "lenet5"
    connections: str = "historical"  # or dense, or COUNTxK,... such as 16x3: sixteen maps that see three inputs each


class Compression(Enum):
    """What the network sees in place of mel power."""

    log = "log"  # its logarithm
    relative_log = "relative_log"  # its logarithm beside the clip's loudest value: whether loud or soft, near or far
    pcen = "pcen"  # per-channel energy normalisation (Wang et al. 2017)


@dataclass
class SpectrogramConfig(ModelConfig):
    """A residual CNN on log-mel spectrograms of sound; see `hemony.models.spectrogram`."""

    kind: str = "spectrogram"
    width: float = ranged(1.0, above=0.0, most=16.0)  # multiplies the channels
    mels: int = ranged(40, least=8, most=256)  # bands from `low_hz` to half the sample rate
    low_hz: float = ranged(20.0, least=0.0)
    window_s: float = ranged(0.032, above=0.0, most=0.2)  # that one frame hears, with a Hann window
    hop_s: float = ranged(0.01, above=0.0, most=0.2)  # from frame to frame
    bands: str = "all"  # or which eighths of the mel bands it hears, such as 0,2,5; in the others there is silence
    compression: Compression = Compression.relative_log
    dropout: float = ranged(0.2, least=0.0, below=1.0)  # of the features before the last layer
    members: int = ranged(1, least=1, most=16)  # networks whose mean answers; each learns from its share of every batch and epoch


@dataclass
class MelodyConfig(ModelConfig):
    """Hears melodies on bells; see `hemony.models.ear` and `hemony.models.sense`."""

    kind: str = "melody"
    ear_width: int = ranged(64, least=8, most=1024)  # channels of its convolutions
    sense_width: int = ranged(128, least=16, most=1024)  # of its transformer
    sense_layers: int = ranged(5, least=1, most=24)
    sense_heads: int = ranged(4, least=1, most=32)
    dropout: float = ranged(0.1, least=0.0, below=1.0)
    weights: str | None = None  # a bundle that hears melodies, to begin with what it has learnt; None: from scratch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sense_width % self.sense_heads:
            raise UsageError(f"model.sense_width={self.sense_width} must be a multiple of model.sense_heads={self.sense_heads}")


@dataclass
class TorchvisionConfig(ModelConfig):
    """Any classifier of torchvision, from scratch or pre-trained."""

    kind: str = "torchvision"
    name: str = "resnet18"
    weights: str | None = None  # DEFAULT or a name such as IMAGENET1K_V1; None: from scratch
    small_stem: bool = False  # ResNets on images of 64 pixels and less: first convolution 3x3 with stride 1, no pooling
    frozen_epochs: int = ranged(1, least=0)  # with weights: train only the new head this long, then all


# ------------------------------------------------------------------------------------------------- rule and training


@dataclass
class RuleConfig(Checked):
    PLACE = "rule"

    kind: str = "backprop"


class OptimizerName(Enum):
    sgd = "sgd"  # with Nesterov momentum
    adamw = "adamw"
    muon = "muon"  # orthogonalised updates for filters, SGD with Nesterov momentum for the rest (Jordan 2024)


class Schedule(Enum):
    constant = "constant"
    linear = "linear"  # warm-up, then straight down to `final_share`
    cosine = "cosine"


@dataclass
class OptimizerConfig(Checked):
    PLACE = "optimizer"

    name: OptimizerName | None = None
    learning_rate: float | None = ranged(None, above=0.0)  # at the schedule's top
    weight_decay: float | None = ranged(None, least=0.0)
    momentum: float | None = ranged(None, least=0.0, below=1.0)
    schedule: Schedule = Schedule.linear
    warmup_share: float = ranged(0.2, least=0.0, most=1.0)  # of all steps
    final_share: float = ranged(0.0, least=0.0, most=1.0)  # of the top learning rate, at the last step


class Precision(Enum):
    auto = "auto"  # bf16 where the hardware gains by it
    fp32 = "fp32"
    bf16 = "bf16"


class Accelerator(Enum):
    auto = "auto"  # a GPU where there is one
    cpu = "cpu"
    gpu = "gpu"


@dataclass
class TrainerConfig(Checked):
    PLACE = "trainer"

    accelerator: Accelerator = Accelerator.auto
    max_epochs: int | None = ranged(None, least=1)
    batch_size: int | None = ranged(None, least=1)
    accumulate_batches: int = ranged(1, least=1)
    label_smoothing: float | None = ranged(None, least=0.0, below=1.0)
    gradient_clip_norm: float = ranged(0.0, least=0.0)  # 0: off
    ema_decay: float | None = ranged(None, least=0.0, below=1.0)  # a step; 0: off
    early_stopping_epochs: int = ranged(0, least=0)  # stop after so many epochs without a lower validation loss; 0: off
    validate_every_epochs: int | None = ranged(None, least=0)  # 0: never
    save_every_s: float = ranged(60.0, least=0.0)  # seconds between saves of the state that `resume=` goes on from
    precision: Precision = Precision.auto
    channels_last: bool = True
    deterministic: bool = False  # only deterministic kernels; an error where there is none
    tensorboard: bool = False
    flow: bool = False  # record once an epoch how gradients flow through each layer, for `hemony inspect flow`


@dataclass
class TrainConfig(Checked):
    """All that `hemony train` takes."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    rule: RuleConfig = field(default_factory=RuleConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    output: str | None = None  # folder of the bundle; by default checkpoints/KIND-DATE-TIME
    resume: str | None = None  # run folder to go on from; takes no other option
    seed: int = ranged(0, least=0)
    flip_averaging: bool | None = None  # average the outputs for an image and its mirror image; None: where training mirrors
    temperature: float | None = ranged(None, above=0.0)  # None: fitted on the validation part


@dataclass
class EvaluateConfig(Checked):
    """All that `hemony evaluate BUNDLE [BUNDLE]` takes beside the bundles."""

    data: DataConfig = field(default_factory=DataConfig)
    accelerator: Accelerator = Accelerator.auto
    precision: Precision = Precision.auto
    batch_size: int = ranged(500, least=1)
    report: str | None = None  # HTML page to write


DATA: dict[str, type[DataConfig]] = {
    "digits": DigitsConfig,
    "image_folder": ImageFolderConfig,
    "cifar10": CIFAR10Config,
    "cifar100": CIFAR100Config,
    "mnist": MNISTConfig,
    "fashion_mnist": FashionMNISTConfig,
    "audio_folder": AudioFolderConfig,
    "bell_types": BellTypesConfig,
    "fsdd": FSDDConfig,
    "speech_commands": SpeechCommandsConfig,
    "esc50": ESC50Config,
    "bell_melodies": BellMelodiesConfig,
    "bell_folder": BellFolderConfig,
}
MODELS: dict[str, type[ModelConfig]] = {
    "auto": AutoConfig,
    "fast_cnn": FastCNNConfig,
    "lenet5": LeNet5Config,
    "spectrogram": SpectrogramConfig,
    "melody": MelodyConfig,
    "torchvision": TorchvisionConfig,
}
RULES: dict[str, type[RuleConfig]] = {"backprop": RuleConfig}
GROUPS: dict[str, dict[str, Any]] = {"data": DATA, "model": MODELS, "rule": RULES}
