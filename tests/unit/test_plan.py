"""What `plan` predicts, against a model that is really there, real files and finished trials."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save
from torch.utils.flop_counter import FlopCounterMode

from ablate.config.parse import trial_to_container
from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import full_batch
from ablate.data.batches.compute_counts import compute_counts
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards
from ablate.errors import UsageError
from ablate.grid import hours as hours_module
from ablate.grid.fit import remedy
from ablate.grid.hours import Speeds, speed_key
from ablate.grid.plan import Disk, Planner, Range, disk
from ablate.model import activations
from ablate.model.build import build_model, build_on_meta
from ablate.model.flops import training_flops
from ablate.model.memory import training_memory
from ablate.model.shape_cache import forget
from ablate.model.size import model_size
from ablate.records.ledger import Ledger
from ablate.records.trial import Counts, Status, TrainResult, TrialRecord
from ablate.training.measure import STEPS, step_seconds
from ablate.training.optimizer import make_optimizer
from ablate.verbs.plan import Budget
from tests.support.command_line import with_tiny
from tests.support.in_process import run_in_process
from tests.support.text import write_text
from tests.support.trials import MakeTrial

PRICE = ("hardware.price_per_device_hour=2.5", "hardware.price_date=2026-11-01")


def test_planned_flops_are_those_that_torch_counts(make_trial: MakeTrial) -> None:
    trial = make_trial()
    trial = replace(trial, precision="fp32", hardware=replace(trial.hardware, attention="dense"))
    batch = full_batch(trial, 2, trial.scale.window_tokens)
    model: Any = build_model(trial, trial.tokenizer.vocab_size)
    with FlopCounterMode(display=False) as counter:
        hidden_NC = model.hidden_with_loss(model.prepared(batch))
        (hidden_NC @ model.head.weight.T).sum().backward()
    counts = compute_counts(batch, trial.architecture)
    # torch counts masked pairs too.
    pairs = 2 * trial.scale.window_tokens**2
    planned = training_flops(build_on_meta(trial), **{**vars(counts), "decoder_pairs": pairs})
    assert counter.get_total_flops() == pytest.approx(planned, rel=0.02)


def test_planned_flops_of_a_row_are_those_of_real_rows(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial("objective=causal")
    counts = TrainBatches(trial, shards)[0].compute_counts
    real = training_flops(build_on_meta(trial), **vars(counts)) / trial.budget.rows_per_step
    assert model_size(trial).row_flops == pytest.approx(real, rel=0.05)


def finish(ledger: Ledger, trial: TrialConfig, trial_id: str, rate: float, parameters: int) -> None:
    """A finished trial that was so fast."""
    ledger.freeze(TrialRecord(trial_id), trial_to_container(trial))
    speed = {"train_tokens_per_second_per_device": rate}
    result = TrainResult(Counts(2, 1000), 1.0, parameters, "data", speed=speed)
    ledger.trial(trial_id).update(status=Status.FINISHED, result=result)


def test_hours_come_from_the_ledger_before_a_measurement_before_a_prior(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(trial: TrialConfig, device: str | None, *, measures: bool) -> object:
        hours = Speeds(ledger, device, measures=measures).hours(trial, 7, 7200, 989e12 * 3600)
        return hours and (hours.low, hours.expected, hours.high, hours.source)

    trial, ledger = make_trial("precision=bf16"), Ledger(tmp_path)
    monkeypatch.setattr(hours_module, "_measured", lambda trial, flops: (4.0, 2.0, 0.5))
    assert told(trial, None, measures=False) is None
    assert told(trial, "H100", measures=False) == (2.0, 2.5, 5.0, "prior")
    assert told(trial, "H100", measures=True) == (0.5, 1.0, 4.0, "measured")
    for number, rate in enumerate((1.0, 2.0, 4.0)):
        finish(ledger, trial, f"{number:012}", rate, parameters=7)
    finish(ledger, make_trial("precision=bf16", "block=llama"), "a" * 12, 100.0, parameters=7)
    finish(ledger, make_trial("precision=bf16", "optimizer=muon"), "c" * 12, 100.0, parameters=7)
    finish(ledger, trial, "b" * 12, 100.0, parameters=8)
    assert told(trial, "H100", measures=True) == (0.5, 1.0, 2.0, "ledger")
    priced = replace(trial, hardware=replace(trial.hardware, price_per_device_hour=2.0, price_date="2026-11-01"))
    assert told(priced, None, measures=False) == (0.5, 1.0, 2.0, "ledger"), "a price changes no speed"


def test_speeds_hold_for_other_learning_rates_and_initial_values(make_trial: MakeTrial) -> None:
    shape = speed_key(trial_to_container(make_trial()))
    assert shape == speed_key(trial_to_container(make_trial("scale.usual_learning_rate=0.1", "scale.init_std=0.1")))
    assert shape != speed_key(trial_to_container(make_trial("scale.n_layers=3")))


def test_steps_are_measured_without_a_corpus(make_trial: MakeTrial) -> None:
    trial = make_trial("hardware.devices=2", "hardware.micro_batch_rows=1")
    seconds = step_seconds(trial)
    assert len(seconds) == STEPS
    assert min(seconds) > 0


def test_a_step_that_would_take_hours_is_not_measured(make_trial: MakeTrial) -> None:
    with pytest.raises(Exception, match="Measure on the machine that is to train"):
        hours_module._measured(make_trial(), 1e18)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_planned_bytes_on_disk_are_those_of_real_files(make_trial: MakeTrial, tmp_path: Path, kind: str) -> None:
    trial = make_trial(f"optimizer={kind}", "scale.d_model=128", "checkpoint.keep_last=2")
    [arm] = Planner(Speeds(Ledger(tmp_path / "runs"), None), None).arms({"causal": [trial] * 3})
    model = build_model(trial, trial.tokenizer.vocab_size)
    optimizer = make_optimizer(model, trial.optimizer)
    torch.autograd.backward(model.loss(full_batch(trial, 1, trial.scale.context_tokens)))
    optimizer.step()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert arm.model_bytes == pytest.approx((tmp_path / "model.pt").stat().st_size, rel=0.05)
    state = {f"model/{name}": weight.detach() for name, weight in model.named_parameters()}
    for name, weight in model.named_parameters():
        state |= {f"{name}/{key}": value for key, value in optimizer.state[weight].items()}
    save(state, checkpoint_id=tmp_path / "saved", no_dist=True)
    size = sum(path.stat().st_size for path in (tmp_path / "saved").iterdir())
    assert arm.checkpoint_bytes == pytest.approx(3 * size, rel=0.05), "two are kept while one is written"
    of_two = disk([arm], parallel=2)
    assert of_two == Disk(3 * arm.model_bytes, 3 * arm.model_bytes + 2 * arm.checkpoint_bytes)
    assert disk([arm], parallel=None).peak == disk([arm], parallel=8).peak == of_two.peak + arm.checkpoint_bytes


def test_the_mildest_remedy_that_fits_is_found(make_trial: MakeTrial) -> None:
    def needed(**hardware: Any) -> int:
        return training_memory(
            replace(trial, hardware=replace(trial.hardware, **hardware)), devices=1, strategy="single"
        ).total

    wide = ("scale.d_model=64", "scale.context_tokens=256", "scale.window_tokens=200", "budget.rows_per_step=32")
    trial = make_trial("hardware=gpu", "hardware.attention=sdpa", *wide)
    found = remedy({"a": [trial]}, needed())
    assert found is not None
    assert str(found) == ""
    found = remedy({"a": [trial]}, needed(micro_batch_rows=8))
    assert str(found) == "hardware.micro_batch_rows=8"
    found = remedy({"a": [trial]}, needed(micro_batch_rows=1) - 1)
    assert found is not None
    assert found.activation_checkpointing == "selective"
    sharded = replace(trial, hardware=replace(trial.hardware, devices=8, strategy="ddp"))
    alone = training_memory(sharded, devices=8, strategy="ddp").total
    assert remedy({"a": [trial], "b": [sharded]}, alone / 1e6) is None
    smallest = replace(sharded, scale=replace(trial.scale, activation_checkpointing="full"))
    smallest = replace(smallest, hardware=replace(smallest.hardware, micro_batch_rows=1))
    assert "hardware.strategy=fsdp" in str(
        remedy({"b": [smallest]}, training_memory(smallest, devices=8, strategy="fsdp").total)
    )


def test_a_shape_is_measured_once_also_by_two_commands(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(cache_dir=str(tmp_path))
    forget()
    first = training_memory(trial, devices=1, strategy="single")
    monkeypatch.setattr(activations, "_run", lambda *_, **__: pytest.fail("measured again"))
    forget()
    assert training_memory(trial, devices=1, strategy="single") == first
    # A file of another version of the model, or a torn one, counts as none.
    (tmp_path / "shapes.json").write_text('{"version": "another", "numbers": {}}')
    forget()
    monkeypatch.setattr(activations, "_run", lambda *_, **__: (1, 1))
    assert training_memory(trial, devices=1, strategy="single").activations == 0
    forget()


def test_a_plan_says_what_fits_and_ends_with_1_above_the_budget(tmp_path: Path) -> None:
    write_text(tmp_path / "text", 40, seed=0)
    grid = ("-m", "objective=causal,prefix", "replicates=2", "max_replicates=3", "hardware=gpu", "precision=bf16")
    words = with_tiny(tmp_path, "plan", *grid, *PRICE)
    done = run_in_process(tmp_path, *words, "--device", "H100", "--budget", "1h", "--fit", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [(arm["trials"], arm["fits"], arm["hours"]["source"]) for arm in plan["arms"]] == [(2, True, "prior")] * 2
    assert plan["is_within_budget"] is True
    assert plan["fitting_options"] == ""
    assert plan["price_date"] == "2026-11-01"
    assert plan["price"]["high"] == pytest.approx(2.5 * plan["hours"]["high"])
    assert (plan["most_trials"], plan["most_price"]["low"]) == (6, pytest.approx(1.5 * plan["price"]["low"]))
    assert plan["effect"]["detectable_effect"] is None, "the ledger is empty"
    assert "The corpus is not prepared, so every trial counts as missing." in " ".join(done.stderr.split())
    assert not list(tmp_path.rglob("*.parquet")), "no corpus was read"
    assert not list(tmp_path.rglob("corpora")), "no corpus was read"
    assert run_in_process(tmp_path, *words, "--device", "H100", "--budget", "0usd").returncode == 1
    assert not (tmp_path / "runs").exists()


def test_a_plan_of_known_shapes_imports_no_torch(tmp_path: Path) -> None:
    words = with_tiny(tmp_path, "plan", "-m", "objective=causal,prefix", "hardware=gpu", "precision=bf16")
    assert run_in_process(tmp_path, *words, "--device", "H100").returncode == 0
    program = (
        f"import sys; sys.argv = ['ablate', *{words!r}, '--device', 'H100']\n"
        "from ablate.__main__ import main\n"
        "code = main()\n"
        "print('HEAVY', sorted({'torch', 'scipy', 'pandas', 'pyarrow'} & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert "HEAVY [] 0" in done.stdout, done.stdout + done.stderr


def test_a_budget_is_compared_with_what_is_expected() -> None:
    some = Range(1.0, 2.0, 3.0)
    assert Budget.of("2h").has(some, None)
    assert not Budget.of("1.5 hours").has(some, None)
    assert Budget.of("2USD").has(Range(9.0, 9.0, 9.0), some)
    with pytest.raises(UsageError, match="the hours are not known"):
        Budget.of("2usd").has(None, None)
    with pytest.raises(UsageError, match=r"Type hardware\.price_per_device_hour"):
        Budget.of("2usd").has(some, None)


def test_the_plan_of_a_tuning_counts_its_candidates(tmp_path: Path) -> None:
    write_text(tmp_path / "text", 40, seed=0)
    grid = ("objective=causal,prefix", "sweeps=learning_rate", "hydra.sweeper.n_trials=5", "replicates=2")
    done = run_in_process(tmp_path, *with_tiny(tmp_path, "plan", "-m", *grid), "--json")
    assert done.returncode == 0, done.stderr
    assert " ".join(done.stderr.split()).count("The corpus is not prepared") == 1
    assert not list(tmp_path.rglob("corpora")), "no corpus was read"
    plan = json.loads(done.stdout)
    assert [(arm["label"], arm["trials"]) for arm in plan["candidates"]] == [("causal", 5), ("prefix", 5)]
    assert [arm["trials"] for arm in plan["arms"]] == [2, 2]
    assert plan["most_trials"] == 14
    assert plan["disk"]["kept"] == 14 * plan["arms"][0]["model_bytes"]
    assert list(tmp_path.rglob("studies.journal")) == []
