"""Builds the objects of one trial, trains it and scores it. Every rank of a trial runs this."""

import math

import lightning.pytorch as pl
import torch
from torch.distributed.device_mesh import init_device_mesh

from ablate.config.trial import TrialConfig
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards, open_shards
from ablate.evaluation.evaluator import Evaluator
from ablate.evaluation.suite import SUITES, suite_ids
from ablate.evaluation.suite_run import SuiteRun
from ablate.files import replacing
from ablate.model.build import Model, build_model
from ablate.model.flops import training_flops
from ablate.model.memory import StrategyName
from ablate.ranks import ALONE, Ranks
from ablate.records.trial import Counts, Scores, SourceReading, Status, TrainResult
from ablate.training.checkpointing import Checkpointing
from ablate.training.counters import Counters
from ablate.training.divergence import DivergedError
from ablate.training.loader import batch_loader
from ablate.training.log import TrialLog
from ablate.training.messages import Activity, Assignment, Channel, Ended, SuiteScored, Trained, TrainingBegins
from ablate.training.module import TrialModule
from ablate.training.parent import parent_state
from ablate.training.preemption import PreemptedError, Preemption
from ablate.training.pruning import PrunedError
from ablate.training.rank_group import check_equal
from ablate.training.sharding import load_whole, shard, whole_state
from ablate.training.speed import speed
from ablate.training.state import read_facts
from ablate.training.strategy import choose_strategy
from ablate.training.trainer import build_trainer
from ablate.training.weights import initial_weights, trained_weights

# Of the free memory, for the checkpoint snapshots of all trials of a host together: their own needs go up and down.
MAX_SNAPSHOT_FRACTION = 0.5


def run_trial(assignment: Assignment, channel: Channel, preemption: Preemption, ranks: Ranks = ALONE) -> Ended:
    """Train what is not trained yet, from the newest checkpoint on, and score.

    Raises:
        DivergedError: the training or a score diverged.
        PreemptedError: asked to stop; the trained state is in a checkpoint.
        PrunedError: the pruner stopped the trial; the trained state is in a checkpoint.
        LedgerError: a checkpoint cannot be used.
        FailureError: the ranks have different data, or the weights of a trained trial are damaged.
    """
    trial, folder = assignment.trial, assignment.folder
    torch.set_num_threads(trial.hardware.threads_per_trial)
    channel.send(Activity("preparing data"))
    shards = None if _needs_no_text(assignment) else ranks.in_turn(lambda: open_shards(trial))
    check_equal(ranks, "training data (fingerprint)", shards and shards.facts.fingerprint)
    evaluator = Evaluator(trial, shards, ranks)
    channel.send(Activity("building the model"))
    strategy = choose_strategy(trial, ranks)
    trainer = build_trainer(trial, strategy, ranks.rank)
    model = _built(trial, strategy, trainer.strategy.root_device, ranks)
    validation: Scores = {}
    if assignment.is_trained:
        load_whole(model, trained_weights(folder.model_path, mmap=True))
    else:
        assert shards is not None
        trained = _train(assignment, trainer, strategy, model, shards, evaluator, channel, preemption, ranks)
        validation = trained.validation
    # After the training Lightning moves the model to main memory.
    model.to(trainer.strategy.root_device)
    if ranks.is_first and not trial.checkpoint.keep_final:
        folder.checkpoints.clear()
    channel.send(Activity("scoring"))
    model.eval()
    with trainer.precision_plugin.forward_context():
        if assignment.split == "validation":
            return Ended(Status.FINISHED, validation=validation or evaluator.validation_summary(model))
        _score(assignment, evaluator, model, channel, ranks)
    return Ended(Status.FINISHED)


def _needs_no_text(assignment: Assignment) -> bool:
    """Whether only suites with problems of their own are left, and the tokenizer is not trained on the corpus."""
    trial = assignment.trial
    if not assignment.is_trained or assignment.split == "validation" or trial.tokenizer.kind == "bpe":
        return False
    names = [name for name, id_ in suite_ids(trial).items() if id_ in assignment.suites]
    return not any(SUITES[name].reads_corpus for name in names)


def _built(trial: TrialConfig, strategy: StrategyName, device: torch.device, ranks: Ranks) -> Model:
    """Build the model with its initial values, which are the same at any sharding."""
    vocabulary = trial.tokenizer.vocab_size
    if strategy != "fsdp":
        return build_model(trial, vocabulary)
    # No device need hold the whole model.
    with torch.device("meta"):
        model = build_model(trial, vocabulary)
    shard(model, init_device_mesh(device.type, (ranks.rank.count,)), trial)
    model.materialise(device)
    return model


def _score(assignment: Assignment, evaluator: Evaluator, model: Model, channel: Channel, ranks: Ranks) -> None:
    """Score by each suite and have it recorded at once. A suite that fails does not keep the others from scoring.

    Raises:
        DivergedError: a score is not finite.
        Exception: the first error of a suite.
    """
    errors: list[Exception] = []

    def run_of(suite: str) -> SuiteRun:
        stem = assignment.folder.evaluation_path(suite).with_suffix("")
        return SuiteRun(stem, lambda text: channel.send(Activity(text)))

    # In one order on all ranks.
    for suite in sorted(assignment.suites):
        try:
            [result] = evaluator.score(model, [suite], run_of).values()
            for name, value in result.metrics.items():
                if not math.isfinite(value):
                    raise DivergedError(f"{name} is {value} after the last step")
        except PreemptedError:
            raise
        except Exception as error:
            errors.append(error)
            continue
        if ranks.is_first:
            with replacing(assignment.folder.evaluation_path(suite)) as scratch:
                result.documents.to_parquet(scratch)
        channel.send(SuiteScored(suite, result.metrics, result.conditions))
    if errors:
        raise next((error for error in errors if isinstance(error, DivergedError)), errors[0])


def _train(
    assignment: Assignment,
    trainer: pl.Trainer,
    strategy: StrategyName,
    model: Model,
    shards: Shards,
    evaluator: Evaluator,
    channel: Channel,
    preemption: Preemption,
    ranks: Ranks,
) -> Trained:
    """Train up to the budget, write the weights and have the result recorded."""
    trial, folder, rank = assignment.trial, assignment.folder, ranks.rank
    batches = TrainBatches(trial, shards, rank=rank.number, ranks=rank.count)
    module = TrialModule(trial, model, batches.stream.fingerprint, budget_target(trial, model), ranks)
    if ranks.is_first:
        folder.checkpoints.remove_leftovers()
    resumed = folder.checkpoints.newest(ranks)
    continued = parent_state(trial, folder.path.parent, ranks) if resumed is None else None
    state = resumed or continued
    facts = None if state is None else read_facts(state)
    if facts is None and (weights := initial_weights(trial, folder.path.parent)) is not None:
        load_whole(model, weights)
    counters = Counters(**facts["counters"]) if facts else Counters()
    if ranks.is_first:
        folder.checkpoints.remove_after(counters.steps)
    begins = TrainingBegins(
        counters.steps, log_bytes=facts["log"]["bytes"] if facts and resumed else 0, strategy=strategy
    )
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
    fraction = MAX_SNAPSHOT_FRACTION / (trial.hardware.parallel_trials * rank.local_count)
    checkpointing = Checkpointing(
        folder.checkpoints,
        trial.checkpoint,
        log,
        preemption,
        state,
        is_own=continued is None,
        memory_fraction=fraction,
    )
    trainer.callbacks += [log, checkpointing]  # type: ignore[attr-defined]
    channel.send(Activity("starting workers" if trial.hardware.loader_workers else "training"))
    try:
        with preemption.deferred():
            trainer.fit(module, batch_loader(batches, first_step=counters.steps, workers=trial.hardware.loader_workers))
    finally:
        checkpointing.close()
    return _concluded(assignment, module, log, batches, channel, preemption)


def _concluded(
    assignment: Assignment,
    module: TrialModule,
    log: TrialLog,
    batches: TrainBatches,
    channel: Channel,
    preemption: Preemption,
) -> Trained:
    """Write the weights and have the result recorded, if the budget is spent; else raise why it is not."""
    trial, folder, ranks = assignment.trial, assignment.folder, module.ranks
    if not module.is_done and module.agreed.stop:
        preemption.check()
        raise PreemptedError("stopped by a signal to another rank")
    if log.is_pruned:
        raise PrunedError(module.counters.of_budget(trial.budget) / module.target)
    assert module.is_done
    weights = whole_state(module.model, ranks)
    if ranks.is_first:
        with replacing(folder.model_path) as scratch:
            torch.save(weights, scratch)
    trained = Trained(_result(module, log, batches), validation=log.newest_validation)
    # Waits: the checkpoints may go only when the record knows of the weights.
    channel.ask(trained)
    preemption.check()
    return trained


def _result(module: TrialModule, log: TrialLog, batches: TrainBatches) -> TrainResult:
    reading = batches.stream.reading(module.counters.steps * module.trial.budget.rows_per_step)
    return TrainResult(
        Counts(**vars(module.counters)),
        training_seconds=log.training_seconds,
        parameters=sum(weight.numel() for weight in module.model.parameters()),
        data_fingerprint=batches.shards.facts.fingerprint,
        speed=speed(module, Counters(), module.counters, log.training_seconds),
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
