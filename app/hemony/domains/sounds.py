"""Recordings: at which rate and in what pieces a network hears them, and what is done with a training's."""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hemony import charts, models
from hemony.config import AudioDataConfig, AutoConfig, BellTypesConfig, OptimizerName, SpectrogramConfig, TrainConfig
from hemony.datasets import bell_types, sounds
from hemony.datasets.collection import AudioCollection
from hemony.datasets.parts import Data
from hemony.datasets.resident import Augmentation
from hemony.datasets.seeding import derived_seed
from hemony.datasets.wave_augment import WaveAugment
from hemony.domains.base import Domain, Start
from hemony.errors import UsageError
from hemony.models.spectrogram import SpectrogramAugment, SpectrogramCNN
from hemony.preprocessing import AudioView
from hemony.recipe import Recipe, choose_optimizer, choose_steps

LEAST_RATE_HZ = 2_000
MOST_RATE_HZ = 32_000  # above it there is little that tells sounds apart, and every sample costs
LONGEST_CLIP_S = 5.0
SHORTEST_CLIP_S = 0.25


class Sounds(Domain):
    """Recordings of any format, rate and length, heard as clips of one length."""

    def collection(self, config: AudioDataConfig) -> AudioCollection:
        if isinstance(config, BellTypesConfig):
            return bell_types.find(config)
        return sounds.find(config)

    def choose_view(self, recipe: Recipe, collection: AudioCollection) -> AudioView:
        """The sample rate of most files, and a clip that holds nearly all of the recordings."""
        data = cast(AudioDataConfig, recipe.config.data)
        rates, counts = np.unique(collection.sample_rates_hz, return_counts=True)
        rate_hz = int(rates[counts.argmax()])
        chosen = min(max(rate_hz, LEAST_RATE_HZ), MOST_RATE_HZ)
        recipe.choose("data", f"most files have {rate_hz:,} Hz", sample_rate_hz=chosen)
        longest_s = float(np.quantile(collection.durations_s, 0.98))
        clip_s = min(LONGEST_CLIP_S, max(SHORTEST_CLIP_S, math.ceil(longest_s * 10) / 10))
        recipe.choose("data", f"98% of the recordings are no longer than {longest_s:.2f} s", clip_s=clip_s)
        assert data.sample_rate_hz is not None
        assert data.clip_s is not None
        return AudioView(data.sample_rate_hz, round(data.clip_s * data.sample_rate_hz))

    def seen(self, collection: AudioCollection, view: AudioView) -> AudioCollection:
        return collection.windows(view.clip_s)

    def choose_training(self, recipe: Recipe, data: Data) -> None:
        config = recipe.config
        if isinstance(config.model, AutoConfig):
            config.model = SpectrogramConfig()
            recipe.decisions.append(f"model spectrogram: {len(data.train):,} training clips")
        members = config.model.members if isinstance(config.model, SpectrogramConfig) else 1
        choose_steps(recipe, data, members)
        batch = min(config.trainer.batch_size or 1, len(data.train))
        if batch < members:
            raise UsageError(f"model.members={members}: a batch of {batch} clips has no share for each of them")
        choose_optimizer(recipe, OptimizerName.muon, "orthogonal updates suit convolutions")
        choose_augmentation(recipe, cast(AudioView, data.view))

    def start(self, config: TrainConfig, data: Data) -> Start:
        torch.manual_seed(derived_seed(config.seed, "weights"))
        network = models.build(config.model, data.view, len(data.class_names))
        for part in (part for part in network.modules() if isinstance(part, SpectrogramCNN)):
            augment = cast(AudioDataConfig, config.data).augment
            frames = round((augment.time_mask_s or 0.0) / cast(SpectrogramConfig, config.model).hop_s)
            part.augment = SpectrogramAugment(
                augment.formant_share or 0.0,
                augment.tempo_share or 0.0,
                augment.equaliser_db or 0.0,
                frames,
                augment.frequency_mask_share or 0.0,
            )
        return Start(models.Recogniser(network, data.view), data.view, 0.0)

    def augmentation(self, config: TrainConfig, data: Data, start: Start) -> Augmentation:
        view = cast(AudioView, data.view)
        augment = WaveAugment(cast(AudioDataConfig, config.data).augment, len(data.class_names), view.sample_rate_hz)
        return bell_types.EndlessBells(augment) if isinstance(config.data, BellTypesConfig) else augment

    def exhibit(self, example: Tensor, view: AudioView, caption: str) -> str:
        return charts.player(example.numpy(), view.sample_rate_hz, caption)


def choose_augmentation(recipe: Recipe, view: AudioView) -> None:
    """What any recording may meet: another place in the clip, level, speed, voice, room and noise."""
    place = "data.augment"
    recipe.choose(place, "a tenth of the clip", shift_s=round(view.clip_s / 10, 3))
    recipe.choose(place, "microphones differ", gain_db=10.0, equaliser_db=6.0)
    recipe.choose(place, "sources differ in size and haste", speed_share=0.1, formant_share=0.1, tempo_share=0.1)
    recipe.choose(place, "rooms and noise are part of every recording", noise_share=0.5, room_share=0.3)
    recipe.choose(
        place, "no moment and no band may decide alone", time_mask_s=round(view.clip_s / 10, 3), frequency_mask_share=0.15
    )
    recipe.choose(place, "the other augmentations do", mixup_alpha=0.0)
