"""Builds the objects of one trial and runs it."""

import contextlib
import logging
import math
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ablate.config.trial import TrialConfig
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.corpus.document import Split
from ablate.data.tokens.shards import Shards, open_shards
from ablate.evaluation.evaluator import Evaluator
from ablate.evaluation.suite import validation_id
from ablate.files import replacing
from ablate.model.build import Model, build_model
from ablate.model.flops import training_flops
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import MetricsWriter, read_metrics, read_validation, write_parquet
from ablate.records.trial import Counts, Scores, SourceReading, TrainResult, ValidationSeries
from ablate.records.wandb.writer import WandbWriter
from ablate.training.checkpointing import Checkpointing, load_newest
from ablate.training.divergence import DivergedError
from ablate.training.loader import batch_loader
from ablate.training.log import TrialLog
from ablate.training.module import TrialModule
from ablate.training.preemption import Preemption
from ablate.training.pruning import PrunedError, Pruner
from ablate.training.weights import initial_weights

# Of the memory that is free, for all trials of a host: their own needs go up and down.
MAX_SNAPSHOT_FRACTION = 0.5
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def run_trial(
    trial: TrialConfig,
    folder: TrialFolder,
    evaluation_id: str,
    mirror: WandbWriter,
    preemption: Preemption,
    *,
    split: Split = "test",
    pruner: Pruner | None = None,
) -> dict[str, Scores]:
    """Trains what is not yet trained, from its newest checkpoint on, and scores.

    Args:
        trial: the trial, as frozen.
        folder: its place in the ledger; the caller holds the lease.
        evaluation_id: of the trial's evaluation.
        mirror: started and not yet closed.
        preemption: whether this process was asked to end.
        split: what is scored at the end. `tune` is for a trial that a sweep chooses by: it leaves the test split alone.
        pruner: asked at each evaluation on the validation split whether to go on.

    Returns:
        The record's evaluations, for `test` this one among them; what the training found is in the record already, and
        so is what was found on the validation split.

    Raises:
        DivergedError: the training is lost.
        PreemptedError: asked to end; what was trained is in a checkpoint.
        PrunedError: the pruner would not go on; what was trained is in a checkpoint.
        LedgerError: a checkpoint or a log that can't be used or written.
    """
    torch.set_num_threads(trial.hardware.threads_per_trial)
    shards = open_shards(trial)
    evaluator = Evaluator(trial, shards)
    model = build_model(trial, trial.tokenizer.vocab_size)
    trainer = build_trainer(trial)
    if folder.is_trained:
        model.load_state_dict(torch.load(folder.model_path, weights_only=True))
        model.to(trainer.strategy.root_device)
    else:
        _train(trial, folder, trainer, model, shards, evaluator, mirror, preemption, pruner)
    folder.checkpoints.clear()
    model.eval()
    record = folder.record()
    if split == "validation":
        _score_validation(trial, folder, trainer, model, evaluator)
        return dict(record.evaluations)
    with trainer.precision_plugin.forward_context():
        documents, summary = evaluator.test_documents(model)
    for name, value in summary.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is {value} after the last step")
    with replacing(folder.evaluation_path(evaluation_id)) as scratch:
        documents.to_parquet(scratch)
    assert record.result is not None
    steps = record.result.counters.steps
    mirror.append(steps, {f"test/{name}": value for name, value in summary.items()})
    return {**record.evaluations, evaluation_id: summary}


def _score_validation(
    trial: TrialConfig, folder: TrialFolder, trainer: pl.Trainer, model: Model, evaluator: Evaluator
) -> None:
    """Scores on the validation split what was not scored so at the end of its training."""
    known = folder.record().validation
    if validation_id(trial) in known:
        return
    with trainer.precision_plugin.forward_context():
        found = evaluator.validation_summary(model)
    folder.update(validation={**known, validation_id(trial): found})


def build_trainer(trial: TrialConfig) -> pl.Trainer:
    """A Lightning trainer that trains and does nothing else: log, evaluation and weights are ours to write."""
    # One step in flight is enough for rows that are made in a millisecond.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning 2.6 takes a class that torch 2.13 deprecates.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*", category=FutureWarning)
    # Lightning announces which accelerators there are, and advertises a product, at every start.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    return pl.Trainer(
        accelerator=trial.hardware.accelerator,
        devices=1,
        precision=PRECISIONS[trial.precision],  # type: ignore[arg-type]
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )


def _train(
    trial: TrialConfig,
    folder: TrialFolder,
    trainer: pl.Trainer,
    model: Model,
    shards: Shards,
    evaluator: Evaluator,
    mirror: WandbWriter,
    preemption: Preemption,
    pruner: Pruner | None,
) -> None:
    steps = TrainBatches(trial, shards, rank=trainer.global_rank, ranks=trainer.world_size)
    module = TrialModule(trial, model, steps.stream.fingerprint, budget_target(trial, model))
    folder.checkpoints.remove_leftovers()
    state = load_newest(folder.checkpoints)
    if state is None and (weights := initial_weights(trial, folder.path.parent)) is not None:
        model.load_state_dict(weights)
    first_step = state["counters"]["steps"] if state else 0
    folder.checkpoints.remove_after(first_step)
    series = ValidationSeries(validation_id(trial), trial.evaluation.val_evaluations)
    folder.update_attempt(from_step=first_step, validation=series)
    writer = MetricsWriter(folder.metrics_path, keep_bytes=state["log"]["bytes"] if state else 0)
    log = TrialLog(
        writer,
        mirror,
        evaluator,
        steps.stream,
        every_steps=trial.tracking.log_every_steps,
        evaluations=trial.evaluation.val_evaluations,
        pruner=pruner,
    )
    checkpointing = Checkpointing(
        folder.checkpoints,
        trial.checkpoint,
        log,
        preemption,
        state,
        memory_fraction=MAX_SNAPSHOT_FRACTION / trial.hardware.parallel_trials,
    )
    trainer.callbacks += [log, checkpointing]  # type: ignore[attr-defined]
    try:
        if pruner is not None and all(attempt.validation == series for attempt in folder.record().attempts):
            _judge_what_is_known(pruner, folder, trial.evaluation.val_evaluations)
        # Asked to end before the first step, Lightning exits by itself after it; what was asked is told below.
        with preemption.deferred(), contextlib.suppress(SIGTERMException):
            trainer.fit(module, batch_loader(steps, first_step=first_step, workers=trial.hardware.loader_workers))
    finally:
        checkpointing.close()
        writer.close()
    if not module.is_done:
        preemption.check()
    if log.is_pruned:
        raise PrunedError(_pruned_at(module.counters.of_budget(trial.budget) / module.target))
    assert module.is_done
    with replacing(folder.model_path) as scratch:
        torch.save(model.state_dict(), scratch)
    write_parquet(read_metrics(folder.metrics_path), folder.path / "metrics.parquet")
    reading = steps.stream.reading(module.counters.steps * trial.budget.rows_per_step)
    folder.update(
        result=TrainResult(
            Counts(**vars(module.counters)),
            training_seconds=log.training_seconds,
            parameters=sum(weight.numel() for weight in model.parameters()),
            data_fingerprint=shards.fingerprint,
            reading={source: SourceReading(fraction, epochs) for source, (fraction, epochs) in reading.items()},
        ),
        validation={validation_id(trial): log.newest_validation} if log.newest_validation else {},
    )
    preemption.check()


def _judge_what_is_known(pruner: Pruner, folder: TrialFolder, evaluations: int) -> None:
    """Tells a pruner what was measured before it was asked, by an earlier attempt or for another study.

    Raises:
        PrunedError: by that, the trial is not worth going on with.
    """
    should_prune, step = False, 0
    for step, found in read_validation(folder.metrics_path, evaluations):
        should_prune = pruner.should_prune(step, found)
    if should_prune:
        raise PrunedError(_pruned_at(step / evaluations))


def _pruned_at(progress: float) -> str:
    return f"pruned at {progress:.0%} of its budget: its study has better ones"


def budget_target(trial: TrialConfig, model: Model) -> float:
    """Where the counter that the budget is matched on must arrive.

    `train_tokens` for tokens; for operations, what plain causal training on as many source tokens would take.
    """
    tokens = trial.budget.train_tokens
    if trial.budget.matched_on != "flops":
        return float(tokens)
    window = trial.scale.window_tokens
    pairs = window * (window + 1) // 2
    per_row = training_flops(model, decoder_tokens=window, loss_tokens=window - 1, decoder_pairs=pairs)
    return per_row * tokens / window
