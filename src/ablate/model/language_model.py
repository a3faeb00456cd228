"""What all models share: initial values, the training loss and scores. Nothing outside this room touches a head.

Shapes: `B` rows, `T` positions, `C` width, `N` positions with a target, `V` vocabulary.
"""

from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch
from ablate.model.initialisation import initialise
from ablate.model.loss import nll_and_first_choices, summed_nll
from ablate.model.rotary import Angles, rotary_angles


class LanguageModel(nn.Module):
    """A model with a token embedding, blocks and an untied head.

    Subclasses add their parameters in the order in which gradients are summed, and a `forward` from
    (input_ids_BT, document_BT, position_BT, span_BT) to normed hidden states (B, T, C).
    """

    blocks: nn.ModuleList
    head: nn.Linear

    def __init__(self, trial: TrialConfig, vocabulary: int) -> None:
        super().__init__()
        self.rotary_width = trial.rotary_width
        self.rotary_base = trial.block.rotary_base
        self.activation_checkpointing = trial.scale.activation_checkpointing
        self.attention = trial.hardware.attention
        self.embedding = nn.Embedding(vocabulary, trial.scale.d_model)

    @classmethod
    def from_config(cls, trial: TrialConfig, vocabulary: int) -> Self:
        """Build the trial's model and draw its parameters from `init_seed` (on the meta device none are drawn)."""
        model = cls(trial, vocabulary)
        if not model.head.weight.is_meta:
            initialise(model, trial.init_seed, std=trial.scale.init_std)
        return model

    def loss(self, batch: Batch) -> Tensor:
        """Return Σ loss_weight · nll of a batch in nats, with gradient, on the model's device."""
        hidden_BTC = self._hidden(batch)
        targets = torch.from_numpy(batch.targets_BT).to(hidden_BTC.device).long()
        weights = torch.from_numpy(batch.loss_weight_BT).to(hidden_BTC.device)
        return summed_nll(hidden_BTC.flatten(0, 1), self.head, targets.flatten(), weights.flatten())

    @torch.no_grad()
    def score(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Score the targets of a batch whose `loss_weight_BT` is not 0, row by row.

        Returns:
            The nll of each target in nats, fp32, and whether it has the highest probability: (N,) each.
        """
        hidden_BTC = self._hidden(batch)
        has_loss_BT = torch.from_numpy(batch.loss_weight_BT > 0).to(hidden_BTC.device)
        target_BT = torch.from_numpy(batch.targets_BT).to(hidden_BTC.device).long()
        return nll_and_first_choices(hidden_BTC[has_loss_BT], self.head, target_BT[has_loss_BT])

    @torch.no_grad()
    def next_logits(self, batch: Batch) -> Tensor:
        """Return the logits of the token after each row's last one, fp32, (B, V)."""
        hidden_BTC = self._hidden(batch)
        last_B = torch.from_numpy((batch.document_BT > 0).sum(1) - 1).to(hidden_BTC.device)
        logits_BV: Tensor = self.head(hidden_BTC[torch.arange(len(last_B), device=last_B.device), last_B]).float()
        return logits_BV

    def _hidden(self, batch: Batch) -> Tensor:
        arrays = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
        device = self.head.weight.device
        hidden_BTC: Tensor = self(*(torch.from_numpy(array).to(device).long() for array in arrays))
        return hidden_BTC

    def _angles(self, position_BT: Tensor) -> Angles:
        return rotary_angles(position_BT, self.rotary_width, self.rotary_base)

    def _apply_block(self, block: nn.Module, *inputs: Any) -> Tensor:
        if self.activation_checkpointing and self.training:
            return cast("Tensor", checkpoint(block, *inputs, use_reentrant=False))
        return cast("Tensor", block(*inputs))
