"""How large a trial's model is, and what a row costs, known without importing torch where the shape is in the cache."""

from dataclasses import dataclass

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import full_batch
from ablate.data.batches.compute_counts import compute_counts
from ablate.data.corpus.cache import cache_folder
from ablate.model.shape_cache import remembered


@dataclass(frozen=True)
class ModelSize:
    """Numbers of parameters, and operations.

    Attributes:
        parameters: of the whole model.
        matrices: of the blocks' matrices.
        root: outside of the blocks, which is FSDP's root unit.
        block: of the largest block.
        row_flops: of training on one row, as `training_flops` counts, if it is one segment of `scale.window_tokens`
            with loss everywhere. Tokens that an objective adds are not counted.
    """

    parameters: int
    matrices: int
    root: int
    block: int
    row_flops: int


def model_size(trial: TrialConfig) -> ModelSize:
    """Return the size of a trial's model."""
    shape = (trial.scale, trial.block, trial.architecture, trial.tokenizer.vocab_size)
    key = repr(("size", *shape))
    return ModelSize(*remembered(cache_folder(trial.cache_dir), key, lambda: _counted(trial)))


def _counted(trial: TrialConfig) -> tuple[int, ...]:
    from ablate.model.build import build_on_meta
    from ablate.model.flops import training_flops

    model = build_on_meta(trial)
    sizes = [sum(weight.numel() for weight in block.parameters()) for block in model.all_blocks()]
    parameters = sum(weight.numel() for weight in model.parameters())
    matrices = sum(weight.numel() for block in model.all_blocks() for weight in block.parameters() if weight.ndim > 1)
    counts = compute_counts(full_batch(trial, 1, trial.scale.window_tokens), trial.architecture)
    return parameters, matrices, parameters - sum(sizes), max(sizes), round(training_flops(model, **vars(counts)))
