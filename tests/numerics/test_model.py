"""Shapes, initial values, loss and rotary positions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ablate.config.parse import composed_from_container
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards
from ablate.model.attention import AttentionMask
from ablate.model.blocks import BlockShape, EncoderOutput
from ablate.model.decoder import Decoder
from ablate.model.flops import training_flops
from ablate.model.loss import nll_and_first_choices, summed_nll
from ablate.model.rotary import rotary_angles, rotate
from tests.support.trials import MakeTrial, container_of


def test_codegen2_1b_has_its_shape() -> None:
    trial = composed_from_container(container_of("scale=1b", "tokenizer.vocab_size=51200")).trial
    with torch.device("meta"):
        decoder = Decoder.from_config(trial, trial.tokenizer.vocab_size)
    assert len(decoder.blocks) == 16
    assert decoder.head.weight.shape == (51_200, 2048)
    assert decoder.rotary_width == 64
    # 16 layers of 12 · 2048² weights, two embeddings of 51 200 × 2048, biases and norms: about 1.015B.
    assert sum(weight.numel() for weight in decoder.parameters()) == 1_015_306_240


@pytest.mark.parametrize(
    ("scale", "vocabulary", "parameters", "heads", "rotary"),
    [
        ("demo", 4096, 1_447_936, (4, 32), 16),
        ("4m", 4096, 4_239_616, (6, 32), 16),
        ("20m", 4096, 20_872_192, (8, 48), 24),
        ("60m", 4096, 60_518_656, (8, 72), 36),
        ("150m", 51_200, 163_695_104, (12, 64), 32),
        ("350m", 51_200, 356_712_448, (16, 64), 32),
        ("3.7b", 51_200, 3_641_174_016, (16, 256), 64),
        ("7b", 51_200, 6_862_858_240, (16, 256), 64),
        ("16b", 51_200, 16_032_155_648, (24, 256), 64),
    ],
)
def test_each_scale_has_its_shape(
    scale: str, vocabulary: int, parameters: int, heads: tuple[int, int], rotary: int
) -> None:
    overrides = (f"scale={scale}", f"tokenizer.vocab_size={vocabulary}", "tokenizer.mask_sentinels=100")
    trial = composed_from_container(container_of(*overrides)).trial
    with torch.device("meta"):
        decoder = Decoder.from_config(trial, vocabulary)
    assert (trial.scale.n_heads, trial.head_width) == heads
    assert decoder.rotary_width == rotary
    assert sum(weight.numel() for weight in decoder.parameters()) == parameters


def test_rotary_positions_take_all_channels_of_a_llama_head() -> None:
    trial = composed_from_container(container_of("scale=3.7b", "block=llama")).trial
    assert trial.rotary_width == 256


def test_arms_share_initial_values_by_name(make_trial: MakeTrial) -> None:
    small = Decoder.from_config(make_trial(), 340)
    other = Decoder.from_config(make_trial("objective=prefix", "architecture=causal_decoder"), 340)
    deeper = Decoder.from_config(make_trial("scale.n_layers=3"), 340)
    seeded = Decoder.from_config(make_trial("init_seed=1"), 340)
    for name, value in small.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert torch.equal(value, deeper.state_dict()[name])
    assert not torch.equal(small.embedding.weight, seeded.embedding.weight)
    assert not torch.equal(small.embedding.weight, small.head.weight)
    assert float(small.embedding.weight.detach().std()) == pytest.approx(0.06, rel=0.05)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("has_kernel", [True, False], ids=["torch's kernel", "before torch 2.13"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_chunked_loss_equals_the_whole_and_so_do_its_gradients(
    monkeypatch: pytest.MonkeyPatch, has_bias: bool, has_kernel: bool
) -> None:
    if not has_kernel:
        monkeypatch.delattr(functional, "linear_cross_entropy")
    torch.manual_seed(0)
    head = nn.Linear(16, 500, bias=has_bias)
    hidden = torch.randn(700, 16, requires_grad=True)
    target = torch.randint(0, 500, (700,))
    weight = (torch.rand(700) < 0.7).float()
    logits = head(hidden)
    whole = (functional.cross_entropy(logits, target, reduction="none") * weight).sum()
    wanted = torch.autograd.grad(whole, [hidden, *head.parameters()])
    keep = weight > 0
    chunked = summed_nll(hidden[keep], head, target[keep])
    found = torch.autograd.grad(chunked, [hidden, *head.parameters()])
    assert chunked.item() == pytest.approx(whole.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    scored, hits = nll_and_first_choices(hidden, head, target, chunk_positions=64)
    assert torch.allclose(scored, functional.cross_entropy(logits, target, reduction="none"), atol=1e-5)
    assert torch.equal(hits, logits.argmax(-1) == target)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.3)])
def test_z_loss_changes_the_gradient_and_not_the_value(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    head, hidden, z_loss = nn.Linear(16, 500), torch.randn(700, 16, requires_grad=True), 0.01
    target = torch.randint(0, 500, (700,))
    logits = head(hidden)
    nll = functional.cross_entropy(logits, target, reduction="sum")
    wanted = torch.autograd.grad(nll + z_loss * (logits.logsumexp(-1) ** 2).sum(), [hidden, *head.parameters()])
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        value = summed_nll(hidden, head, target, z_loss)
        found = torch.autograd.grad(value, [hidden, *head.parameters()])
        plain = torch.autograd.grad(summed_nll(hidden, head, target), [hidden, *head.parameters()])
    assert value.item() == pytest.approx(nll.item(), rel=tolerance / 30)
    for one, other, without in zip(found, wanted, plain, strict=True):
        assert torch.allclose(one, other, atol=tolerance)
        assert float((one - without).abs().max()) > 2 * float((one - other).abs().max())


def test_rotary_products_depend_on_distance_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    products = []
    for shift in (0, 7, 100):
        turned = [
            rotate(part, *rotary_angles(torch.tensor([[at + shift]]), 4, 1e4)) for part, at in ((query, 5), (key, 2))
        ]
        products.append(float((turned[0] * turned[1]).sum()))
    assert products == pytest.approx([products[0]] * 3, rel=1e-5)
    moved = rotate(key, *rotary_angles(torch.tensor([[3]]), 4, 1e4))
    assert float((rotate(query, *rotary_angles(torch.tensor([[5]]), 4, 1e4)) * moved).sum()) != pytest.approx(
        products[0]
    )


def test_a_larger_base_turns_slower() -> None:
    position_BT = torch.tensor([[0, 1, 9]])
    for base in (1e4, 5e5):
        sine, cosine = rotary_angles(position_BT, 4, base)
        angles = torch.atan2(sine, cosine)[0, 0]
        # Pairs 0 and 1 of width 4: base to the power of 0 and of −1/2.
        assert angles[1].tolist() == pytest.approx([1.0, base**-0.5], rel=1e-5)
    assert not torch.equal(rotary_angles(position_BT, 4, 1e4)[0], sine)


def test_llama_has_its_shape(make_trial: MakeTrial) -> None:
    trial = make_trial("block=llama", "scale.d_model=64", "scale.n_heads=4", "block.key_value_heads=2")
    decoder = Decoder.from_config(trial, 340)
    # 2.6667 · 64 = 170.7, to the nearest multiple of 8.
    assert (trial.mlp_width, trial.rotary_width, trial.key_value_heads) == (168, 16, 2)
    shapes = {
        name.split(".", 2)[2]: tuple(weight.shape) for name, weight in decoder.named_parameters() if "s.0." in name
    }
    assert shapes == {
        "attention_norm.weight": (64,),
        "qkv.weight": (64 + 2 * 32, 64),
        "attention_out.weight": (64, 64),
        "mlp_norm.weight": (64,),
        "mlp_gate.weight": (168, 64),
        "mlp_in.weight": (168, 64),
        "mlp_out.weight": (64, 168),
    }
    assert not any(name.endswith("bias") for name in decoder.state_dict())
    assert decoder.head.weight.data_ptr() != decoder.embedding.weight.data_ptr()
    # Three matrices at a third less width: as many weights as two of four widths, to the rounding.
    gptj = Decoder.from_config(make_trial("scale.d_model=64", "scale.n_heads=4"), 340)
    counts = [sum(weight.numel() for weight in one.blocks.parameters() if weight.ndim > 1) for one in (decoder, gptj)]
    assert counts[0] + 2 * 2 * 32 * 64 == pytest.approx(counts[1], rel=0.02)


@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_a_crossing_block_reads_its_memory_and_a_blind_one_none(make_trial: MakeTrial, block: str) -> None:
    heads = ["block.key_value_heads=1"] if block == "llama" else []
    shape = BlockShape.of(make_trial(f"block={block}", *heads))
    torch.manual_seed(0)
    crossing, plain = shape.block(cross_attention=True), shape.block(cross_attention=False)
    plain.load_state_dict({name: value for name, value in crossing.state_dict().items() if "cross" not in name})
    x_BTC, states_BSC = torch.randn(2, 5, 32), torch.randn(2, 7, 32, requires_grad=True)
    angles = rotary_angles(torch.arange(5)[None], 8, 1e4)
    one, none = torch.ones(2, 5, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.int64)
    mask = AttentionMask.from_segments(one, none, torch.float32, False, "sdpa")
    # The first row sees states 0 to 2, the second 1 to 6.
    first_BT, end_BT = torch.tensor([[0] * 5, [1] * 5]), torch.tensor([[3] * 5, [7] * 5])
    encoder_output = EncoderOutput(states_BSC, AttentionMask.from_intervals(first_BT, end_BT, 7, torch.float32, "sdpa"))
    read_BTC = crossing(x_BTC, angles, mask, encoder_output)
    assert float((read_BTC - plain(x_BTC, angles, mask)).detach().abs().min()) > 0
    [gradient_BSC] = torch.autograd.grad(read_BTC.square().sum(), states_BSC)
    assert (gradient_BSC.abs().sum(-1) > 0).tolist() == [[True] * 3 + [False] * 4, [False] + [True] * 6]
    blind = EncoderOutput(states_BSC, AttentionMask.from_intervals(end_BT, first_BT, 7, torch.float32, "sdpa"))
    assert torch.equal(crossing(x_BTC, angles, mask, blind), plain(x_BTC, angles, mask))


def test_flops_count_products(make_trial: MakeTrial) -> None:
    trial = make_trial()
    decoder = Decoder.from_config(trial, 340)
    layer = 32 * 96 + 32 * 32 + 2 * 32 * 128
    counted = training_flops(decoder, decoder_tokens=10, loss_tokens=9, decoder_pairs=55)
    assert counted == 6 * (2 * layer * 10 + 340 * 32 * 9) + 12 * 2 * 32 * 55


def test_activation_checkpointing_changes_memory_and_no_number(make_trial: MakeTrial, shards: Shards) -> None:
    gradients = []
    for checkpointing in ("none", "selective", "full", "true"):
        trial = make_trial("objective=prefix", f"scale.activation_checkpointing={checkpointing}")
        decoder = Decoder.from_config(trial, 340)
        batch = TrainBatches(trial, shards)[0].batch
        parts = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
        decoder(*(torch.from_numpy(part) for part in parts)).square().sum().backward()
        gradients.append([weight.grad for weight in decoder.blocks.parameters() if weight.grad is not None])
        assert len(gradients[-1]) == 2 * 8
    for others in gradients[1:]:
        assert all(torch.equal(one, other) for one, other in zip(gradients[0], others, strict=True))
