"""The mask algebra against brute force: forward, gradient, and through whole models."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ablate.config import TrialConfig
from ablate.data.batch import Batch
from ablate.data.shards import Shards
from ablate.data.steps import Steps
from ablate.model.attention import Visibility, attend, visible_BTT
from ablate.model.decoder import Decoder
from tests.conftest import MakeTrial

ROWS = {
    "one document": ([1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "prefix": ([1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]),
    "full prefix": ([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
    "two documents": ([1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0]),
    "two regions in two documents": ([1, 1, 1, 2, 2, 2], [1, 1, 0, 2, 2, 0]),
    "two regions in one segment": ([1, 1, 1, 1, 1, 1], [1, 1, 0, 2, 2, 0]),
    "padding": ([1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]),
    "documents and padding": ([1, 1, 2, 2, 2, 0], [0, 0, 0, 0, 0, 0]),
}


def by_the_sentences(document_T: list[int], region_T: list[int]) -> list[list[bool]]:
    """The algebra as its definition reads, one pair at a time."""
    return [
        [
            document_T[i] == document_T[j] > 0 and (j <= i or region_T[i] == region_T[j] > 0)
            for j in range(len(document_T))
        ]
        for i in range(len(document_T))
    ]


@pytest.mark.parametrize("name", ROWS)
def test_dense_matrix_is_the_definition(name: str) -> None:
    document, region = (torch.tensor([part]) for part in ROWS[name])
    assert visible_BTT(document, region)[0].tolist() == by_the_sentences(*ROWS[name])


@pytest.mark.parametrize("names", [[name] for name in ROWS] + [list(ROWS)])
@pytest.mark.parametrize("honours_regions", [True, False])
def test_backend_equals_dense_attention_forward_and_gradient(names: list[str], honours_regions: bool) -> None:
    document, region = (torch.tensor([ROWS[name][part] for name in names]) for part in (0, 1))
    shape = (len(names), 2, 6, 4)
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    seen = visible_BTT(document, region if honours_regions else torch.zeros_like(region))
    real = document > 0

    def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = (query @ key.mT / 2).masked_fill(~seen[:, None], float("-inf"))
        return scores.softmax(-1).nan_to_num(0) @ value

    visibility = Visibility.of(document, region, torch.float64, honours_regions)
    query, key, value = inputs
    ours, theirs = attend(query, key, value, visibility), dense(query, key, value)
    keep = real[:, None, :, None].expand(shape)
    assert torch.allclose(ours[keep], theirs[keep], atol=1e-12)
    probe = torch.randn(shape, dtype=torch.float64) * keep
    gradients = torch.autograd.grad((ours * probe).sum(), inputs)
    expected = torch.autograd.grad((theirs * probe).sum(), inputs)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert torch.isfinite(gradient).all()
        assert torch.allclose(gradient, wanted, atol=1e-12)


def test_single_segments_take_the_fast_path_and_others_do_not() -> None:
    one = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    none = torch.zeros_like(one)
    assert Visibility.of(one, none, torch.float32, True).bias_B1TT is None
    assert Visibility.of(torch.tensor([[1, 1, 2, 2]]), none[:1], torch.float32, True).bias_B1TT is not None
    region = torch.tensor([[1, 1, 0, 0]])
    assert Visibility.of(one[1:], region, torch.float32, True).bias_B1TT is not None
    assert Visibility.of(one[1:], region, torch.float32, False).bias_B1TT is None


def gradient_of_one_position(model: Decoder, batch: Batch, row: int, asking: int) -> Tensor:
    """How one position's hidden state depends on each position's embedding: (T, C)."""
    ids, document, position, region = (
        torch.from_numpy(part[row : row + 1])
        for part in (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.region_BT)
    )
    embedded: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.embedding.register_forward_hook(keep)
    hidden = model(ids, document, position, region)
    handle.remove()
    # Not the plain sum: a LayerNorm's outputs sum to a constant.
    probe = torch.arange(hidden.shape[-1], dtype=hidden.dtype)
    return torch.autograd.grad((hidden[0, asking] * probe).sum(), embedded[0])[0][0]


@pytest.mark.parametrize("architecture", ["prefix_decoder", "causal_decoder"])
@pytest.mark.parametrize("objective", ["causal", "prefix", "mixed"])
def test_model_sees_what_is_visible_and_nothing_else(
    make_trial: MakeTrial, shards: Shards, architecture: str, objective: str
) -> None:
    """Through all layers: a position's gradient is exactly 0 where it may not look, and not 0 where it may.

    With the contract's "no target with loss is visible" (tests/unit/test_batch.py) this is: no arm can cheat.
    """
    trial: TrialConfig = make_trial(f"objective={objective}", f"architecture={architecture}")
    model = Decoder.from_config(trial, trial.tokenizer.entries).double()
    batch = Steps(trial, shards)[0].batch
    honours = architecture == "prefix_decoder"
    region = torch.from_numpy(batch.region_BT) * int(honours)
    seen = visible_BTT(torch.from_numpy(batch.document_BT), region)
    for row in range(2):
        for asking in range(0, 40, 3):
            if batch.document_BT[row, asking] == 0:
                continue
            reached = gradient_of_one_position(model, batch, row, asking).abs().sum(-1) > 0
            assert reached.tolist() == seen[row, asking].tolist()


def test_regions_change_the_model_only_where_they_are_honoured(make_trial: MakeTrial, shards: Shards) -> None:
    outputs = {}
    for architecture in ("prefix_decoder", "causal_decoder"):
        trial = make_trial("objective=prefix", f"architecture={architecture}")
        model = Decoder.from_config(trial, trial.tokenizer.entries)
        batch = Steps(trial, shards)[0].batch
        parts = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.region_BT)
        outputs[architecture] = model(*(torch.from_numpy(part) for part in parts)).detach().numpy()
    assert batch.region_BT.max() > 0
    assert not np.allclose(outputs["prefix_decoder"], outputs["causal_decoder"])
