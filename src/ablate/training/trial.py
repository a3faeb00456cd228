"""Builds the objects of one trial, trains it and scores it."""

import contextlib
import logging
import math
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ablate.config.trial import TrialConfig
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards, open_shards
from ablate.evaluation.evaluator import Evaluator
from ablate.files import replacing
from ablate.model.build import Model, build_model
from ablate.model.flops import training_flops
from ablate.records.trial import Counts, Scores, SourceReading, Status, TrainResult
from ablate.training.checkpointing import Checkpointing, load_newest
from ablate.training.counters import Counters
from ablate.training.divergence import DivergedError
from ablate.training.loader import batch_loader
from ablate.training.log import TrialLog
from ablate.training.messages import Activity, Assignment, Channel, Ended, Trained, TrainingBegins
from ablate.training.module import TrialModule
from ablate.training.preemption import Preemption
from ablate.training.pruning import PrunedError
from ablate.training.weights import initial_weights

# Of the free memory, for the checkpoint snapshots of all trials of a host together: their own needs go up and down.
MAX_SNAPSHOT_FRACTION = 0.5
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def run_trial(assignment: Assignment, channel: Channel, preemption: Preemption) -> Ended:
    """Train what is not trained yet, from the newest checkpoint on, and score.

    Raises:
        DivergedError: the training or a score diverged.
        PreemptedError: asked to stop; the trained state is in a checkpoint.
        PrunedError: the pruner stopped the trial; the trained state is in a checkpoint.
        LedgerError: a checkpoint cannot be used.
    """
    trial, folder = assignment.trial, assignment.folder
    torch.set_num_threads(trial.hardware.threads_per_trial)
    channel.send(Activity("preparing data"))
    shards = open_shards(trial)
    evaluator = Evaluator(trial, shards)
    channel.send(Activity("building the model"))
    model = build_model(trial, trial.tokenizer.vocab_size)
    trainer = build_trainer(trial)
    validation: Scores = {}
    if assignment.is_trained:
        model.load_state_dict(torch.load(folder.model_path, weights_only=True))
        model.to(trainer.strategy.root_device)
    else:
        trained = _train(assignment, trainer, model, shards, evaluator, channel, preemption)
        validation = trained.validation
    folder.checkpoints.clear()
    channel.send(Activity("scoring"))
    model.eval()
    with trainer.precision_plugin.forward_context():
        if assignment.split == "validation":
            return Ended(Status.FINISHED, validation=validation or evaluator.validation_summary(model))
        results = evaluator.score(model, assignment.suites)
    for suite, result in results.items():
        for name, value in result.metrics.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} is {value} after the last step")
        with replacing(folder.evaluation_path(suite)) as scratch:
            result.documents.to_parquet(scratch)
    return Ended(Status.FINISHED, evaluations={suite: result.metrics for suite, result in results.items()})


def build_trainer(trial: TrialConfig) -> pl.Trainer:
    """Return a Lightning trainer that trains and does nothing else: log, evaluation and weights are ours to write."""
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
    assignment: Assignment,
    trainer: pl.Trainer,
    model: Model,
    shards: Shards,
    evaluator: Evaluator,
    channel: Channel,
    preemption: Preemption,
) -> Trained:
    """Train up to the budget, write the weights and have the result recorded."""
    trial, folder = assignment.trial, assignment.folder
    batches = TrainBatches(trial, shards, rank=trainer.global_rank, ranks=trainer.world_size)
    module = TrialModule(trial, model, batches.stream.fingerprint, budget_target(trial, model))
    folder.checkpoints.remove_leftovers()
    state = load_newest(folder.checkpoints)
    if state is None and (weights := initial_weights(trial, folder.path.parent)) is not None:
        model.load_state_dict(weights)
    counters = Counters(**state["counters"]) if state else Counters()
    folder.checkpoints.remove_after(counters.steps)
    begins = TrainingBegins(counters.steps, log_bytes=state["log"]["bytes"] if state else 0)
    if channel.ask(begins).should_prune:
        raise PrunedError(counters.of_budget(trial.budget) / module.target)
    log = TrialLog(
        channel,
        evaluator,
        batches.stream,
        every_steps=trial.tracking.log_every_steps,
        evaluations=trial.evaluation.val_evaluations,
        has_pruner=assignment.has_pruner,
    )
    fraction = MAX_SNAPSHOT_FRACTION / trial.hardware.parallel_trials
    checkpointing = Checkpointing(
        folder.checkpoints, trial.checkpoint, log, preemption, state, memory_fraction=fraction
    )
    trainer.callbacks += [log, checkpointing]  # type: ignore[attr-defined]
    channel.send(Activity("starting workers" if trial.hardware.loader_workers else "training"))
    try:
        # Asked to stop before the first step, Lightning exits by itself after it; `check` below raises for us.
        with preemption.deferred(), contextlib.suppress(SIGTERMException):
            loader = batch_loader(batches, first_step=counters.steps, workers=trial.hardware.loader_workers)
            trainer.fit(module, loader)
    finally:
        checkpointing.close()
    if not module.is_done:
        preemption.check()
    if log.is_pruned:
        raise PrunedError(module.counters.of_budget(trial.budget) / module.target)
    assert module.is_done
    with replacing(folder.model_path) as scratch:
        torch.save(model.state_dict(), scratch)
    trained = Trained(_result(module, log, batches, shards), validation=log.newest_validation)
    # Waits: the checkpoints may go only when the record knows of the weights.
    channel.ask(trained)
    preemption.check()
    return trained


def _result(module: TrialModule, log: TrialLog, batches: TrainBatches, shards: Shards) -> TrainResult:
    reading = batches.stream.reading(module.counters.steps * module.trial.budget.rows_per_step)
    return TrainResult(
        Counts(**vars(module.counters)),
        training_seconds=log.training_seconds,
        parameters=sum(weight.numel() for weight in module.model.parameters()),
        data_fingerprint=shards.fingerprint,
        reading={source: SourceReading(fraction, epochs) for source, (fraction, epochs) in reading.items()},
    )


def budget_target(trial: TrialConfig, model: Model) -> float:
    """Return the value of the counter `budget.matched_on` at which the trial ends.

    For tokens, `train_tokens`; for operations, what plain causal training on as many train tokens would take.
    """
    tokens = trial.budget.train_tokens
    if trial.budget.matched_on != "flops":
        return float(tokens)
    window = trial.scale.window_tokens
    pairs = window * (window + 1) // 2
    per_row = training_flops(model, decoder_tokens=window, loss_tokens=window - 1, decoder_pairs=pairs)
    return per_row * tokens / window
