"""A run, from a checked config to a bundle: data, network, Lightning, evaluation, report."""

import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn

from hemony import bundle as bundles
from hemony import card, domains, durable, evaluation, hardware, models, recipe, rules
from hemony.callbacks import EarlyStopping, History, Progress, Saver, StateIO, StopRequest
from hemony.config import TorchvisionConfig, TrainConfig
from hemony.datasets.collection import PARTS, Collection
from hemony.datasets.parts import Data, build
from hemony.datasets.resident import Augmentation, PlainBatches, TrainingBatches
from hemony.errors import HemonyError, InputError, Terminated, UsageError
from hemony.metrics import evaluate_logits, fit_temperature, softmax
from hemony.models.torchvision import TorchvisionClassifier
from hemony.output import as_csv
from hemony.plain import plain
from hemony.preprocessing import View
from hemony.tasks.classification import Classifier
from hemony.unknown import rejection

FEW = 100  # examples from which a temperature is no more than a guess
REJECTED_SHARE = 0.05  # of the validation part, that falls below the threshold for the unknown


class BrokenNetwork(HemonyError):
    """What came out of a training is no recogniser."""


def run(config: TrainConfig, folder: Path, stop: StopRequest) -> dict[str, Any]:
    """Train in `folder`, or go on with what is there, and write the bundle; its metrics are returned."""
    device = hardware.pick_device(config.trainer.accelerator)
    hardware.keep_freed_memory()
    plan, data = prepare(config, folder)
    config = plan.config
    check_early_stopping(config, data)
    domain = domains.of(config.data)
    start = domain.start(config, data)
    batches = training_batches(config, data, domain.augmentation(config, data, start), device)
    steps = -(-len(batches) // config.trainer.accumulate_batches)
    pretrained, frozen_batches = transfer(config, start.recogniser, batches)
    module = Classifier(start.recogniser, rules.build(config.rule), config, steps, pretrained, frozen_batches)
    every = epochs_to_validation(config, data) * batches.epoch_batches
    history = History(batches.epoch_batches, start.measuring_s)
    callbacks: list[lightning.Callback] = [history, Progress(history, batches.epochs)]
    if config.trainer.flow:
        from hemony.lens.flow import FlowRecorder

        callbacks.append(FlowRecorder(history, start.recogniser.network))
    if config.trainer.early_stopping_epochs:
        callbacks.append(EarlyStopping(config.trainer.early_stopping_epochs, batches.epoch_batches))
    callbacks.append(Saver(config.trainer.save_every_s, folder / "run", stop, every))  # last: it saves what the others know
    with stop.deferred():
        fit(module, batches, data, config, folder, device, callbacks)
    return finish(module, history.rows, data, start.preprocessing, plan, folder, device)


def prepare(config: TrainConfig, folder: Path) -> tuple[recipe.Recipe, Data]:
    """Find, choose, decode and part the data. What was chosen is stored in the run, and a resumed run is held to it."""
    started = time.monotonic()
    plan = recipe.completed(config)
    domain = domains.of(config.data)
    collection = domains.find(config.data)
    view = domain.choose_view(plan, collection)
    data = build(domain.seen(collection, view), plan.config.data, view)
    domain.choose_training(plan, data)
    contents = {name: fingerprint(part.collection) for name, part in data.parts.items()}
    record = folder / "run" / "data.json"
    if record.exists():
        check_same_data(record, contents)
        plan.decisions = durable.read_json(record)["decisions"]
    else:
        durable.write_json(record, {"contents": contents, "decisions": plan.decisions})
        durable.write_json(folder / "run" / "config.json", plain(plan.config))
    for line in (f"data={config.data.kind}", *data.notes, *plan.decisions):
        hardware.log(line)
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in data.parts.items())
    hardware.log(f"data ready after {time.monotonic() - started:.1f} s: {sizes} {data.noun}s, {len(data.class_names)} classes")
    return plan, data


def fingerprint(collection: Collection) -> str:
    """A word that changes with the examples, their labels and their order."""
    return durable.digest(collection.digests.tobytes() + collection.labels.tobytes())


def check_same_data(record: Path, contents: dict[str, str]) -> None:
    """Raise InputError if the examples, their labels or their order are no longer those with which the run began."""
    stored = durable.read_json(record)["contents"]
    changed = [name for name in PARTS if stored[name] != contents[name]]
    if changed:
        raise InputError(
            f"the contents of the {' and '.join(changed)} part are not those with which the run began: put the data back as it was, or "
            f"begin a new run"
        )


def check_early_stopping(config: TrainConfig, data: Data) -> None:
    """Raise UsageError where there would be nothing by which to stop early."""
    if config.trainer.early_stopping_epochs and not epochs_to_validation(config, data):
        raise UsageError(
            "trainer.early_stopping_epochs needs a validation part (data.validation_share above 0) and "
            "trainer.validate_every_epochs from 1 to trainer.max_epochs"
        )


def transfer(config: TrainConfig, recogniser: models.Recogniser, batches: TrainingBatches) -> tuple[list[nn.Parameter], int]:
    """Which parameters are pre-trained, and for how many batches they rest."""
    if not isinstance(config.model, TorchvisionConfig) or not isinstance(recogniser.network, TorchvisionClassifier):
        return [], 0
    return recogniser.network.pretrained_parameters(), config.model.frozen_epochs * batches.epoch_batches


def training_batches(config: TrainConfig, data: Data, augmentation: Augmentation, device: torch.device) -> TrainingBatches:
    trainer = config.trainer
    assert trainer.batch_size is not None
    assert trainer.max_epochs is not None
    return TrainingBatches(
        data.train, trainer.batch_size, trainer.max_epochs, config.seed, augmentation, device, workers=config.data.workers
    )


def epochs_to_validation(config: TrainConfig, data: Data) -> int:
    """Epochs from one validation to the next; 0 for none while training."""
    every = config.trainer.validate_every_epochs or 0
    return every if len(data.validation) and every <= (config.trainer.max_epochs or 0) else 0


def fit(
    module: Classifier,
    batches: TrainingBatches,
    data: Data,
    config: TrainConfig,
    folder: Path,
    device: torch.device,
    callbacks: list[lightning.Callback],
) -> None:
    """Lightning's part: one pass over all batches of all epochs, so that a resumed run is always in the middle of it."""
    every = epochs_to_validation(config, data) * batches.epoch_batches
    if config.trainer.channels_last:
        module.to(memory_format=torch.channels_last)
    validation = PlainBatches(data.validation, 500, device, config.data.workers) if every else None
    run_lightning(module, batches, validation, config, folder / "run", device, callbacks, every)


def run_lightning(
    module: lightning.LightningModule,
    batches: Any,
    validation: Any,
    config: TrainConfig,
    run_folder: Path,
    device: torch.device,
    callbacks: list[lightning.Callback],
    validate_every: int = 0,
) -> None:
    """A Trainer over the batches that are left, from the newest state in the run folder on; `validate_every` batches, 0 for never."""
    settings = config.trainer
    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if hardware.trains_in_bf16(settings.precision, device, module) else "32-true",
            max_epochs=1,
            accumulate_grad_batches=settings.accumulate_batches,
            gradient_clip_val=settings.gradient_clip_norm or None,
            val_check_interval=validate_every or None,
            check_val_every_n_epoch=None if validate_every else 1,
            limit_val_batches=None if validate_every else 0,
            deterministic=settings.deterministic,
            callbacks=callbacks,
            plugins=[StateIO(run_folder)],
            logger=tensorboard(run_folder) if settings.tensorboard else False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        states = durable.states(run_folder)
        try:
            trainer.fit(module, batches, validation, ckpt_path=states[-1] if states else None, weights_only=True)
        except SIGTERMException:  # it came while Lightning was setting up
            raise Terminated(signal.SIGTERM, "no step was taken; what was saved before is kept") from None


def finish(
    module: Classifier,
    history: list[dict[str, float]],
    data: Data,
    preprocessing: View,
    plan: recipe.Recipe,
    folder: Path,
    device: torch.device,
) -> dict[str, Any]:
    """Calibrate on the validation part, judge on the test part, write bundle, metrics and report; returns the metrics."""
    config = plan.config
    bf16 = hardware.use_bf16(config.trainer.precision, device)
    recogniser = module.best
    answers = evaluation.answers_of(recogniser, data.test, device, bf16)
    if not np.isfinite(answers.logits).all():
        raise BrokenNetwork("the trained network answers with NaN: its last updates broke it. Try a lower optimizer.learning_rate")
    temperature, unknown_threshold = 1.0 if config.temperature is None else config.temperature, 0.0
    if config.temperature is not None:
        hardware.log(f"temperature {temperature:g} as given: it is not fitted to this network")
    if len(data.validation):
        validated = evaluation.answers_of(recogniser, data.validation, device, bf16)
        if config.temperature is None:
            temperature = fit_temperature(validated.logits, validated.labels)
            if len(validated.labels) < FEW:
                hardware.log(
                    f"temperature {temperature:.3f} comes from {len(validated.labels)} validation {data.noun}s alone: a rough one"
                )
        unknown_threshold = round(float(np.quantile(softmax(validated.logits, temperature).max(axis=1), REJECTED_SHARE)), 6)
    judged = evaluate_logits(answers.logits, answers.labels, data.class_names, temperature)
    facts = training_facts(module, history, config.seed, device)
    foreign = rejection(
        recogniser, data.view, data.class_names, answers.logits, answers.labels, temperature, unknown_threshold, device, bf16
    )
    metrics = {**judged.metrics, **foreign, **evaluation.about(config.data.kind, "test", str(folder), facts)}
    bundle = bundles.Bundle(
        recogniser=recogniser,
        labels=data.class_names,
        model=plain(config.model),
        preprocessing=preprocessing,
        temperature=temperature,
        unknown_threshold=unknown_threshold,
        metrics=metrics,
        data=plain(config.data),
        split={name: part.collection.digests for name, part in data.parts.items()},
        config=plain(config),
        training=facts,
        versions=hardware.versions(),
        history=history,
    )
    bundles.save(bundle, folder, card.card(bundle, durable.read_json(folder / "run" / "overrides.json")))
    durable.write_json(folder / "run" / "metrics.json", metrics)
    durable.write_text(folder / "run" / "metrics.csv", as_csv([metrics]))
    summary = data.summary() | {"decisions": plan.decisions}
    domain = domains.of(config.data)
    evaluation.write_report(folder / "run" / "report.html", bundle, judged, answers, data.test, domain, summary)
    hardware.log(f"bundle {folder}, report {folder / 'run' / 'report.html'}")
    return metrics


def training_facts(module: Classifier, history: list[dict[str, float]], seed: int, device: torch.device) -> dict[str, Any]:
    """What stands beside every figure: seed, size, time, machine."""
    seconds = history[-1]["elapsed_s"] if history else 0.0
    return {
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in module.recogniser.parameters()),
        "optimizer_steps": module.steps,
        "train_time_s": seconds,
        "machine": hardware.describe(device),
    }


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's tips go: they are about things that are decided here."""
    import logging

    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            yield
    finally:
        logger.setLevel(level)


def tensorboard(run_folder: Path) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(run_folder, name="tensorboard", version="")
    except ModuleNotFoundError:
        raise UsageError("trainer.tensorboard=true needs tensorboard: pip install 'hemony[track]'") from None
