"""Which strategy several devices train by, and what does not fit them."""

import pytest

from ablate.errors import UsageError
from ablate.model import memory
from ablate.model.memory import training_memory
from ablate.ranks import Alone, Rank
from ablate.training import strategy
from ablate.training.strategy import choose_strategy
from tests.support.ranks import on
from tests.support.trials import MakeTrial


class Two(Alone):
    """The first of two ranks, as far as a choice goes."""

    rank = Rank(0, 2, 0, 2)


def test_one_device_trains_by_itself_unless_asked_otherwise(make_trial: MakeTrial) -> None:
    assert choose_strategy(make_trial(), Alone()) == "single"
    assert choose_strategy(on(make_trial(), 1, "fsdp"), Alone()) == "fsdp"


def test_several_devices_shard_the_model_only_where_it_does_not_fit_each(
    make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = on(make_trial(), 2, "auto")
    whole, part = (training_memory(trial, devices=2, strategy=name).total for name in ("ddp", "fsdp"))
    assert whole != part

    def with_room(room: float) -> str:
        monkeypatch.setattr(strategy, "_device_bytes", lambda trial, ranks: room)
        return choose_strategy(trial, Two())

    assert with_room(whole) == "ddp"
    monkeypatch.setattr(
        memory, "training_memory", lambda trial, devices, strategy: Bytes(2e9 if strategy == "ddp" else 1e9)
    )
    assert with_room(1.5e9) == "fsdp"
    with pytest.raises(UsageError, match=r"hardware.strategy=auto: a step takes about 1.0 GB .* which have 0.5 GB"):
        with_room(0.5e9)


class Bytes:
    """What a strategy needs."""

    def __init__(self, total: float) -> None:
        self.total = total
