"""What all models share: initial values, the training loss and scores. Nothing outside this room touches a head.

A pass has two parts. `prepared` derives from a batch all that depends on its numbers, on the host: masks, slots, the
positions that have loss. It moves them to the model's device without waiting for it. The rest never waits for the
device either, and its shapes are known without running it.

Shapes: `B` rows, `T` positions, `C` width, `N` positions with a target, `V` vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch
from ablate.model.cache import Caches
from ablate.model.initialisation import Scheme, codegen, initialise, normal
from ablate.model.loss import nll_and_first_choices, summed_nll
from ablate.model.rotary import Angles, rotary_angles
from ablate.model.transfer import to_device

Inputs = TypeVar("Inputs")


@dataclass(frozen=True)
class Prepared(Generic[Inputs]):
    """A batch on the model's device.

    Attributes:
        inputs: what the model reads.
        position_N: the positions with loss, numbered through all rows.
        target_N: their targets.
    """

    inputs: Inputs
    position_N: Tensor
    target_N: Tensor


class LanguageModel(nn.Module, Generic[Inputs]):
    """A model with a token embedding, blocks and an untied head.

    Subclasses add their parameters in the order in which gradients are summed, and define `inputs` and `states`.
    """

    blocks: nn.ModuleList
    head: nn.Linear

    def __init__(self, trial: TrialConfig, vocabulary: int) -> None:
        super().__init__()
        self.rotary_width = trial.rotary_width
        self.rotary_base = trial.block.rotary_base
        # Selective checkpointing is the blocks'.
        self.recomputes_blocks = trial.scale.activation_checkpointing == "full"
        self.attention = trial.hardware.attention
        self.init_seed, self.init_scheme = trial.init_seed, _scheme(trial)
        self.z_loss = trial.optimizer.z_loss
        self.width_multiplier = trial.scale.width_multiplier
        self.embedding = nn.Embedding(vocabulary, trial.scale.d_model)

    @classmethod
    def from_config(cls, trial: TrialConfig, vocabulary: int) -> Self:
        """Build the trial's model and draw its parameters from `init_seed`.

        On the meta device none are drawn: `materialise` does that later.
        """
        model = cls(trial, vocabulary)
        if not model.head.weight.is_meta:
            model.initialise()
        return model

    def initialise(self) -> None:
        """Draw all parameters, or this rank's parts of them."""
        initialise(self, self.init_seed, self.init_scheme)

    def materialise(self, device: torch.device) -> None:
        """Allocate the parameters of a model that was built on the meta device, sharded or not, and draw them.

        The values are those of a model that was built on one device.
        """
        self.to_empty(device=device)
        self.initialise()

    def all_blocks(self) -> list[nn.Module]:
        """Return the blocks, an encoder's among them: the units of compilation and sharding."""
        return [block for child in self.children() if isinstance(child, nn.ModuleList) for block in child]

    def compile_blocks(self) -> None:
        """Compile each block by itself: all have one code, so one compilation serves any depth and any sharding."""
        for block in self.all_blocks():
            block.compile()

    def inputs(self, document_BT: Tensor, span_BT: Tensor, input_ids_BT: Tensor, position_BT: Tensor) -> Inputs:
        """Return what `states` reads, on the model's device. The arguments lie on the host."""
        raise NotImplementedError

    def states(self, inputs: Inputs) -> Tensor:
        """Return the last hidden states, normed: (B, T, C)."""
        raise NotImplementedError

    def caches(self, rows: int, positions: int) -> Caches:
        """Allocate caches for writing so many rows of at most so many tokens, prompts included."""
        raise NotImplementedError

    def recording(self, inputs: Inputs, tokens: int, span_tokens: int, caches: Caches, row: int) -> Inputs:
        """Return the inputs of one prompt such that `states` stores keys and values in a row of the caches.

        Args:
            inputs: of a batch of one row without padding.
            tokens: the number of its tokens.
            span_tokens: the length of the bidirectional span at its start.
            caches: the result of `caches`.
            row: of the caches.
        """
        raise NotImplementedError

    def next_inputs(self, token_B: Tensor, caches: Caches) -> Inputs:
        """Return what `states` reads of one more token in each of the first rows of the caches, which take it in."""
        raise NotImplementedError

    def forward(self, input_ids_BT: Tensor, document_BT: Tensor, position_BT: Tensor, span_BT: Tensor) -> Tensor:
        """Return the last hidden states, normed: (B, T, C)."""
        return self.states(self.inputs(document_BT.long(), span_BT.long(), input_ids_BT.long(), position_BT.long()))

    def prepared(self, batch: Batch) -> Prepared[Inputs]:
        """Do what depends on the numbers of a batch, and move the rest to the model's device."""
        position_N = np.flatnonzero(batch.loss_weight_BT > 0)
        arrays = (batch.document_BT, batch.span_BT, batch.input_ids_BT, batch.position_BT)
        return Prepared(
            self.inputs(*(torch.from_numpy(array).long() for array in arrays)),
            self._on_device(position_N),
            self._on_device(batch.targets_BT.flatten()[position_N].astype(np.int64)),
        )

    def loss(self, batch: Batch) -> Tensor:
        """Return Σ nll in nats over the targets with loss, on the model's device.

        With `z_loss` its gradient is that of Σ nll + z_loss · Σ log-normaliser².
        """
        return self.loss_of(self.prepared(batch))

    def loss_of(self, prepared: Prepared[Inputs]) -> Tensor:
        """Return the loss of a batch that is on the device."""
        return summed_nll(self.hidden_with_loss(prepared), self.head, prepared.target_N, self.z_loss)

    @torch.no_grad()
    def score(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Score the targets of a batch whose `loss_weight_BT` is not 0, row by row.

        Returns:
            The nll of each target in nats, fp32, and whether it has the highest probability: (N,) each.
        """
        prepared = self.prepared(batch)
        return nll_and_first_choices(self.hidden_with_loss(prepared), self.head, prepared.target_N)

    @torch.no_grad()
    def read_prompt(self, batch: Batch, caches: Caches, row: int) -> Tensor:
        """Read a prompt, a batch of one row without padding, into a row of the caches.

        Returns:
            The logits of the token after it, fp32, (V,).
        """
        tokens, span_tokens = batch.input_ids_BT.shape[1], int((batch.span_BT > 0).sum())
        inputs = self.recording(self.prepared(batch).inputs, tokens, span_tokens, caches, row)
        logits_V: Tensor = self.head(self.states(inputs)[0, -1]).float()
        return logits_V

    @torch.no_grad()
    def read_tokens(self, token_B: Tensor, caches: Caches) -> Tensor:
        """Read one more token in each of the first rows of the caches.

        Args:
            token_B: the tokens, on the host.
            caches: rows beyond the tokens stay as they are.

        Returns:
            The logits of the token after it, fp32, (B, V).
        """
        logits_BV: Tensor = self.head(self.states(self.next_inputs(token_B, caches))[:, 0]).float()
        return logits_BV

    def hidden_with_loss(self, prepared: Prepared[Inputs]) -> Tensor:
        """Return the hidden states of the positions with loss: (N, C)."""
        # Positions without loss are dropped first: a copy costs less than their part of the largest product.
        return self.states(prepared.inputs).flatten(0, 1).index_select(0, prepared.position_N)

    def _on_device(self, array: NDArray[np.int64]) -> Tensor:
        return to_device(torch.from_numpy(array), self.head.weight.device)

    def _scaled(self, hidden_BTC: Tensor) -> Tensor:
        """Scale the last states by muP's output multiplier."""
        return hidden_BTC if self.width_multiplier == 1 else hidden_BTC / self.width_multiplier

    def _angles(self, position_BT: Tensor) -> Angles:
        return rotary_angles(position_BT, self.rotary_width, self.rotary_base)

    def _apply_block(self, block: nn.Module, *inputs: Any) -> Tensor:
        if self.recomputes_blocks and self.training:
            return cast("Tensor", checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False))
        return cast("Tensor", block(*inputs))


def _scheme(trial: TrialConfig) -> Scheme:
    if trial.init_scheme == "codegen":
        return codegen(layers=trial.scale.n_layers)
    std, multiplier = trial.scale.init_std, trial.scale.width_multiplier
    return normal(std=std, block_std=std if multiplier == 1 else std / multiplier**0.5)
