"""MFU: known devices, and both conventions."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from ablate.model.build import build_model
from ablate.model.peak_flops import peak_flops
from ablate.model.utilisation import all_pairs_flops, device_peak_flops
from ablate.ranks import Rank
from ablate.training.counters import Counters
from ablate.training.module import TrialModule
from ablate.training.speed import speed
from tests.support.trials import MakeTrial


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H200", 989),
        ("NVIDIA B200", 2250),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_peak_rates_are_of_devices_we_know(name: str, teraflops: float | None) -> None:
    assert peak_flops(name, "bf16") == (None if teraflops is None else teraflops * 1e12)
    assert peak_flops(name, "fp32") is None
    assert device_peak_flops(torch.device("cpu"), "bf16") is None


def test_all_pairs_count_each_token_with_its_whole_row_and_the_head(make_trial: MakeTrial) -> None:
    model = build_model(make_trial(), 340)
    layer = 32 * 96 + 32 * 32 + 2 * 32 * 128
    expected = 6 * (2 * layer + 340 * 32) * 80 + 12 * 2 * 32 * 80 * 40
    assert all_pairs_flops(model, tokens=80, row_tokens=40) == expected
    encoder_decoder = build_model(make_trial("architecture=encoder_decoder", "objective=prefix"), 340)
    assert all_pairs_flops(encoder_decoder, tokens=80, row_tokens=40) is None


def test_rates_are_per_device_and_of_the_steps_between(make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial()
    module = TrialModule(trial, build_model(trial, 340), "", 800, Mock(rank=Rank(0, 2, 0, 2)))
    cpu = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))
    monkeypatch.setattr(TrialModule, "trainer", cpu)
    before = Counters(steps=1, train_tokens=160, input_tokens=164, flops=1e6)
    after = Counters(steps=3, train_tokens=480, input_tokens=492, flops=5e6)
    slow = {"train_tokens_per_second": 80.0, "train_tokens_per_second_per_device": 40.0}
    assert speed(module, before, after, 4.0) == slow
    monkeypatch.setattr("ablate.training.speed.device_peak_flops", lambda device, precision: 1e6)
    # Two steps of four rows.
    published = all_pairs_flops(module.model, tokens=328, row_tokens=328 / 8)
    assert published is not None
    rates = {"mfu_visible_pairs": 4e6 / 4 / 2e6, "mfu_all_pairs": published / 4 / 2e6}
    assert speed(module, before, after, 4.0) == pytest.approx(slow | rates)
