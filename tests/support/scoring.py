"""Scores from one forward pass for each token."""

import torch

from ablate.model.build import Model
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt


def nll_one_by_one(model: Model, prompt: Prompt, scored_S: Tokens) -> list[float]:
    """The nll of each scored token, from a pass of its own over what the token may see."""
    read = [*prompt.tokens_T.tolist(), *scored_S.tolist()]
    found = []
    for end in range(len(prompt.tokens_T), len(read)):
        seen = torch.tensor([read[:end]])
        spans = (torch.arange(end)[None] < prompt.bidirectional_tokens).long()
        hidden = model(seen, torch.ones_like(seen), torch.arange(end)[None], spans)
        found.append(-float(model.head(hidden[0, -1]).log_softmax(-1)[read[end]]))
    return found
