"""A run that ends with a bundle that hears melodies: batches, network, Lightning, temperature, figures."""

import dataclasses
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

from hemony import durable, hardware, rules
from hemony.callbacks import History, Progress, Saver, StopRequest
from hemony.card import melody_card
from hemony.config import AutoConfig, BellMelodiesConfig, MelodyConfig, OptimizerName, TrainConfig
from hemony.datasets.bell_batches import LONGEST_LINE, BellBatches
from hemony.datasets.bell_melodies import Melodies, line, stacked
from hemony.datasets.seeding import derived_seed
from hemony.errors import UsageError
from hemony.fit import run_lightning
from hemony.judge_melodies import by_condition, heard_by
from hemony.melody_bundle import MelodyBundle, load, save
from hemony.metrics import fit_temperature
from hemony.models.melody import MelodyNetwork, build
from hemony.models.sense import ANSWERS
from hemony.output import as_csv
from hemony.plain import plain
from hemony.tasks.correction import ONSETS_EVERY, Corrector

CARD_KEYS = ("onset_f1", "intended_clear", "intended_off", "deviation_median_cents", "deviation_p95_cents", "flag_f1", "ece")
VALIDATION_LINES = 400  # of tunes that no training heard, by which the temperature is found
DEFAULTS: dict[str, dict[str, Any]] = {  # what a config leaves open
    "trainer": {"max_epochs": 40, "batch_size": 16, "ema_decay": 0.999},
    "optimizer": {"name": OptimizerName.adamw, "learning_rate": 1.5e-3, "weight_decay": 0.02, "momentum": 0.9},
}


def run(config: TrainConfig, folder: Path, stop: StopRequest) -> dict[str, Any]:
    """Train in `folder`, or go on with what is there, and write the bundle; its metrics are returned."""
    config = completed(config)
    device = hardware.pick_device(config.trainer.accelerator)
    hardware.keep_freed_memory()
    assert isinstance(config.model, MelodyConfig)
    assert isinstance(config.data, BellMelodiesConfig)
    trainer = config.trainer
    torch.manual_seed(derived_seed(config.seed, "weights"))
    network, steps_behind = begun(config.model, folder / "run")
    batches = BellBatches(config.data, trainer.batch_size or 1, trainer.max_epochs or 1, config.seed)
    durable.write_json(folder / "run" / "config.json", plain(config))
    module = Corrector(network, rules.build(config.rule), config, -(-len(batches) // trainer.accumulate_batches))
    history = History(batches.epoch_batches)
    callbacks: list[lightning.Callback] = [history, Progress(history, batches.epochs)]
    if trainer.flow:
        from hemony.lens.flow import FlowRecorder

        callbacks.append(FlowRecorder(history, network, config.data.recordings_every * ONSETS_EVERY))
    callbacks.append(Saver(trainer.save_every_s, folder / "run", stop, 0))
    with stop.deferred():
        run_lightning(module, batches, None, config, folder / "run", device, callbacks)
    return finish(module, history.rows, folder, device, steps_behind)


def begun(config: MelodyConfig, run_folder: Path) -> tuple[MelodyNetwork, int]:
    """The network as a training begins, and how many optimiser steps those had before it. Raises UsageError for `weights` of another size."""
    network, kept = build(config), run_folder / "began_with.json"
    if config.weights and not durable.states(run_folder):
        given = load(Path(config.weights))
        if dataclasses.replace(given.model, weights=config.weights, dropout=config.dropout) != config:
            raise UsageError(
                f"model.weights={config.weights} is a network of another size than model asks for: give it the same ear_width, "
                "sense_width, sense_layers and sense_heads"
            )
        network.load_state_dict(given.network.state_dict())
        durable.write_json(kept, {"steps": given.training["optimizer_steps"] + given.training["began_with_steps"]})
    return network, durable.read_json(kept)["steps"] if kept.exists() else 0


def completed(config: TrainConfig) -> TrainConfig:
    """A copy with what was left open. Raises UsageError for what a melody cannot be trained with."""
    if isinstance(config.model, AutoConfig):
        config = dataclasses.replace(config, model=MelodyConfig())
    if not isinstance(config.data, BellMelodiesConfig) or not isinstance(config.model, MelodyConfig):
        raise UsageError(
            f"data={config.data.kind} with model={config.model.kind}: what hears melodies is trained by data=bell_melodies model=melody"
        )
    if config.trainer.early_stopping_epochs or config.trainer.validate_every_epochs:
        raise UsageError(
            "melodies are validated at the end: leave trainer.early_stopping_epochs and trainer.validate_every_epochs out"
        )
    filled = {}
    for group, values in DEFAULTS.items():
        given = getattr(config, group)
        filled[group] = dataclasses.replace(given, **{key: value for key, value in values.items() if getattr(given, key) is None})
    return dataclasses.replace(config, **filled)


def finish(
    module: Corrector, history: list[dict[str, float]], folder: Path, device: torch.device, steps_behind: int
) -> dict[str, Any]:
    """Calibrate on new tunes, judge on unseen ones, write bundle and metrics; returns the metrics."""
    config, network = module.config, module.best.cpu().eval().requires_grad_(False)
    assert isinstance(config.model, MelodyConfig)
    training = {
        "seed": config.seed,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "optimizer_steps": module.steps,
        "began_with_steps": steps_behind,
        "train_time_s": history[-1]["elapsed_s"] if history else 0.0,
        "machine": hardware.describe(device),
    }
    bundle = MelodyBundle(
        network=network,
        model=dataclasses.replace(config.model, weights=None),  # they are in it
        temperature=fitted_temperature(network, config.seed) if config.temperature is None else config.temperature,
        metrics={},
        data=plain(config.data),
        config=plain(config),
        training=training,
        versions=hardware.versions(),
        history=history,
    )
    rows = by_condition(BellMelodiesConfig(repeats=1), lambda asked: [heard_by(bundle, case) for case in asked])
    bundle.metrics = {f"{row['condition']}_{key}": row[key] for row in rows if row["kind"] == "all" for key in CARD_KEYS}
    save(bundle, folder, melody_card(bundle, rows, durable.read_json(folder / "run" / "overrides.json")))
    metrics = {**bundle.metrics, "bundle": str(folder), "data": config.data.kind, "seed": config.seed}
    durable.write_json(folder / "run" / "metrics.json", metrics)
    durable.write_text(folder / "run" / "metrics.csv", as_csv([metrics]))
    hardware.log(f"bundle {folder}")
    return metrics


def fitted_temperature(network: MelodyNetwork, seed: int) -> float:
    """By tunes that were composed for this alone."""
    draw = np.random.default_rng(derived_seed(seed, "validation lines"))
    melodies = Melodies(seed)
    lines = stacked([line(melodies.composed_score(draw), LONGEST_LINE, draw) for _ in range(VALIDATION_LINES)], LONGEST_LINE)
    logits = network.meant(lines.semitones, lines.step_s)
    judged = (lines.answers >= 0) & (lines.answers < ANSWERS)
    return fit_temperature(logits[judged].double().numpy(), lines.answers[judged].numpy())
