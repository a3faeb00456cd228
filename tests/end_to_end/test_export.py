"""Models that leave for transformers and come from it, from the command line."""

import contextlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ablate.config.parse import trial_from_container, trial_to_container
from ablate.data.tokens.shards import open_shards
from ablate.errors import UsageError
from ablate.evaluation.generate import Problem, generate
from ablate.evaluation.sampling import Sampling
from ablate.model.decoder import Decoder
from ablate.model.hf_weights import shapes_of
from ablate.objectives.prompt import Prompt
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status, TrialRecord
from ablate.scheduling.supervisor import check_initial_weights
from ablate.training.initial import resolve_init_from
from tests.support.command_line import ablate
from tests.support.in_process import run_in_process
from tests.support.text import write_text
from tests.support.trials import MakeTrial

pytestmark = pytest.mark.usefixtures("no_figures")

SIZE = ["scale.n_heads=4", "budget.train_tokens=8000"]
SHAPE = [*SIZE, "optimizer.learning_rate=1e-2"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, TrialFolder]]:
    """A folder, and the finished trial of each kind of block in its ledger."""
    folder = tmp_path_factory.mktemp("some models")
    write_text(folder / "text", 40, seed=0)
    done = ablate(folder, "-m", "block=gptj,llama", "replicates=1", *SHAPE)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = {}
    for trial in Ledger(folder / "runs").trials():
        trials[trial.frozen()["block"]["kind"]] = trial
    return folder, trials


def new_trial(folder: Path, known: Iterable[TrialFolder]) -> TrialFolder:
    ids = {trial.trial_id for trial in known}
    [found] = [trial for trial in Ledger(folder / "runs").trials() if trial.trial_id not in ids]
    return found


def decoder_of(source: TrialFolder) -> Decoder:
    trial = trial_from_container(source.frozen())
    decoder = Decoder.from_config(trial, trial.tokenizer.vocab_size)
    decoder.load_state_dict(torch.load(source.model_path, weights_only=True))
    return decoder.eval()


@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_transformers_opens_it_and_writes_the_same(
    world: tuple[Path, dict[str, TrialFolder]], tmp_path: Path, block: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, trials = world
    place = tmp_path / "a model"
    done = run_in_process(folder, "export", trials[block].trial_id[:8], str(place))
    assert done.returncode == 0, done.stderr
    assert str(place) in done.stdout
    opened: Any = AutoModelForCausalLM.from_pretrained(place, output_loading_info=True)
    model, about = opened
    assert not any(about.values()), about
    assert type(model).__name__ == {"gptj": "CodeGenForCausalLM", "llama": "LlamaForCausalLM"}[block]
    tokenizer = AutoTokenizer.from_pretrained(place)
    ours = open_shards(trial_from_container(trials[block].frozen())).tokenizer
    texts = ["def lambda é unto\n  return self;", "if", "the word\n\n"]
    problems = []
    for text, tokens_T in zip(texts, ours.encode(texts), strict=True):
        assert tokenizer(text)["input_ids"] == tokens_T.tolist()
        assert tokenizer.decode(tokens_T) == text
        problems.append(Problem(text, Prompt(tokens_T, 0), [0, 1], max_tokens=12))
    end = ours.special.end_of_text
    assert tokenizer.eos_token_id == model.config.eos_token_id == end
    samples = list(generate(decoder_of(trials[block]), ours, problems, Sampling(), rows=5, end_tokens=[end]))
    assert len(samples) == 6
    for sample in samples:
        [prompt] = ours.encode([sample.problem_id])
        theirs = model.generate(
            torch.tensor(prompt[None]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=12, do_sample=False
        )[0]
        wanted = theirs[len(prompt) :].tolist()
        assert [*sample.tokens_T.tolist(), *([end] if sample.finished_by == "end_token" else [])] == wanted
        assert sample.text == tokenizer.decode(wanted, skip_special_tokens=True)


def test_the_card_tells_what_it_is(world: tuple[Path, dict[str, TrialFolder]], tmp_path: Path) -> None:
    folder, trials = world
    source = trials["gptj"]
    assert run_in_process(folder, "export", source.trial_id, str(tmp_path / "card")).returncode == 0
    card = (tmp_path / "card" / "README.md").read_text()
    rows = [
        f"| {metric} | {score:.4f} | {suite_id} |"
        for suite_id, scores in source.record().evaluations.items()
        for metric, score in scores.items()
    ]
    assert any(row.startswith("| bpb_full |") for row in rows)
    for row in rows:
        assert row in card
    for part in (
        f"# Trial {source.trial_id}",
        "block=gptj",
        "seed=0",
        "8,",
        "reads all of it from left to right",
        "`<mask_1>`",
    ):
        assert part in card
    assert "groups" not in card
    done = run_in_process(
        folder, "export", source.trial_id, str(tmp_path / "two"), "--qkv-groups", "2", "runs_dir=runs"
    )
    assert "Its 2 groups are for CodeGen2's own modelling code" in done.stdout, done.stderr
    assert "lie in 2 groups" in (tmp_path / "two" / "README.md").read_text()
    assert json.loads((tmp_path / "two" / "config.json").read_text())["qkv_groups"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card", "two"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["TRIAL"], ": takes a trial id and a folder. Usage:\n  python -m ablate export ID DIR"),
        (["TRIAL", "text"], "text: exists and is not empty. Name a new folder: python -m ablate export"),
        (["nothing", "new"], "nothing: no such trial below"),
        (["TRIAL", "new", "--qkv-groups=3"], "--qkv-groups 3: does not divide scale.n_heads=4. Allowed: 1, 2, 4."),
        (["TRIAL", "new", "--qkv-groups=x"], "--qkv-groups x: should be a whole number above 0, as in --qkv-groups 8."),
        (["TRIAL", "new", "--qkv-groups=0"], "--qkv-groups 0: should be a whole number above 0, as in --qkv-groups 8."),
        (["TRIAL", "new", "--qkv-groups"], "--qkv-groups: needs a value. Type --qkv-groups N"),
        (["TRIAL", "new", "--groups"], "export --groups: no such flag. Did you mean --qkv-groups?"),
        (["PENDING", "new"], "is pending; this takes a finished trial."),
    ],
)
def test_what_cannot_be_exported_is_told(
    world: tuple[Path, dict[str, TrialFolder]], words: list[str], told: str
) -> None:
    folder, trials = world
    planned = TrialFolder(folder / "runs" / "0123456789ab")
    planned.path.mkdir()
    planned.config_path.write_text(trials["gptj"].config_path.read_text())
    names = {"TRIAL": trials["gptj"].trial_id, "PENDING": planned.trial_id}
    try:
        done = run_in_process(folder, "export", *[names.get(word, word) for word in words])
    finally:
        planned.config_path.unlink()
        planned.path.rmdir()
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "new").exists()


def test_a_trial_without_weights_is_to_blame_and_not_the_folder(
    world: tuple[Path, dict[str, TrialFolder]], tmp_path: Path
) -> None:
    folder, trials = world
    source = trials["gptj"]
    kept = source.model_path.rename(tmp_path / "model.pt")
    try:
        for words in (["export", source.trial_id, str(tmp_path / "new")], ["generate", source.trial_id]):
            done = run_in_process(folder, *words)
            assert done.returncode == 1
            assert f"{source.model_path}: the weights of this trial were deleted." in done.stderr
    finally:
        kept.rename(source.model_path)
    assert not (tmp_path / "new").exists()


def test_an_exported_folder_is_readable_and_its_card_runs(
    world: tuple[Path, dict[str, TrialFolder]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    folder, trials = world
    before = os.umask(0o027)
    try:
        assert run_in_process(folder, "export", trials["llama"].trial_id, str(tmp_path / "model")).returncode == 0
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "model").iterdir()}
    assert set(modes.values()) == {"0o640"}, modes
    assert AutoTokenizer.from_pretrained(tmp_path / "model").model_max_length == 48
    card = (tmp_path / "model" / "README.md").read_text()
    program = card.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path / "model")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {})
    assert printed.getvalue().startswith("def ")


def test_a_trial_writes_on_the_command_line(world: tuple[Path, dict[str, TrialFolder]]) -> None:
    folder, trials = world
    name = trials["gptj"].trial_id
    written = [run_in_process(folder, "generate", name, "--prompt", "def x", "--max-tokens", "7") for _ in range(2)]
    assert written[0].returncode == 0, written[0].stderr
    assert written[0].stdout == written[1].stdout
    assert "tokens, " in written[0].stderr
    sampled = [
        run_in_process(folder, "generate", name, "--temperature", "2", "--top-p", "0.9", "--seed", seed).stdout
        for seed in ("1", "1", "2")
    ]
    assert sampled[0] == sampled[1] != sampled[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "generate: takes one trial id. Usage:"),
        (["TRIAL", "--prompt", "word " * 60], "Shorten the text by "),
        (["TRIAL", "--max-tokens", "1000"], "the model reads 48. Type at most --max-tokens 48."),
        (["TRIAL", "--max-tokens", "1.5"], "--max-tokens 1.5: should be a whole number above 0."),
        (["TRIAL", "--temperature", "hot"], "--temperature hot: should be a number from 0 on."),
        (["TRIAL", "--top-p", "1.5"], "--top-p 1.5: should be a number above 0 and at most 1."),
        (["TRIAL", "--suffix", " return"], "was not trained to infill"),
    ],
)
def test_what_cannot_be_written_is_told(
    world: tuple[Path, dict[str, TrialFolder]], words: list[str], told: str
) -> None:
    folder, trials = world
    done = run_in_process(folder, "generate", *[trials["gptj"].trial_id if word == "TRIAL" else word for word in words])
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def losses(source: TrialFolder) -> list[float]:
    import pandas

    return [float(value) for value in pandas.read_parquet(source.path / "metrics.parquet")["train/loss"].dropna()]


def test_seeds_that_draw_nothing_make_no_trials_of_an_arm(world: tuple[Path, dict[str, TrialFolder]]) -> None:
    folder, trials = world
    known = len(list(Ledger(folder / "runs").trials()))
    start = f"init_from={trials['gptj'].trial_id}"
    done = ablate(folder, "-m", start, "init_seed=0,1", "data_seed=0", *SHAPE)
    assert done.returncode == 2
    assert "with init_from nothing is drawn from init_seed" in done.stderr
    assert len(list(Ledger(folder / "runs").trials())) == known


def test_other_weights_than_planned_are_refused(make_trial: MakeTrial, tmp_path: Path) -> None:
    name = finished(tmp_path / "runs", trial_to_container(make_trial()))
    [folder] = Ledger(tmp_path / "runs").trials()
    planned = replace(make_trial("seed=3"), init_from=name, init_from_id=f"trial:{name}")
    check_initial_weights(planned, folder)
    with pytest.raises(UsageError, match=r"holds other weights now .*trial:aaaaaaaaaaaa.* frozen .sha256:0"):
        check_initial_weights(replace(planned, init_from_id="sha256:0"), folder)


def test_a_trial_goes_on_from_another(world: tuple[Path, dict[str, TrialFolder]]) -> None:
    folder, trials = world
    source = trials["llama"]
    known = list(Ledger(folder / "runs").trials())
    done = ablate(folder, f"init_from={source.trial_id}", "block=llama", *SHAPE, "seed=1")
    assert done.returncode == 0, done.stdout + done.stderr
    found = new_trial(folder, known)
    assert found.frozen()["init_from_id"] == f"trial:{source.trial_id}"
    assert losses(found)[0] < losses(source)[0] - 0.5


@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_a_model_of_transformers_is_trained_further(
    world: tuple[Path, dict[str, TrialFolder]], tmp_path: Path, block: str
) -> None:
    from transformers import AutoModelForCausalLM

    folder, trials = world
    assert run_in_process(folder, "export", trials[block].trial_id, str(tmp_path / "ours")).returncode == 0
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    known = list(Ledger(folder / "runs").trials())
    place = f"init_from='{tmp_path / 'theirs'}'"
    done = ablate(folder, place, f"block={block}", *SIZE, "optimizer.learning_rate=1e-3", "seed=2")
    assert done.returncode == 0, done.stdout + done.stderr
    found = new_trial(folder, known)
    assert found.frozen()["init_from_id"].startswith("sha256:")
    assert losses(found)[0] < losses(trials[block])[0] - 0.5
    # Other weights at the same place are another trial.
    with torch.no_grad():
        model.lm_head.weight.add_(0.1)
    model.save_pretrained(tmp_path / "theirs")
    known = list(Ledger(folder / "runs").trials())
    done = ablate(folder, place, f"block={block}", *SIZE, "optimizer.learning_rate=1e-3", "seed=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert new_trial(folder, known).frozen()["init_from_id"] != found.frozen()["init_from_id"]


def finished(runs_dir: Path, container: dict[str, Any], status: str = "finished") -> str:
    """Write a trial into a ledger; planning only looks whether its weights are a whole file."""
    ledger = Ledger(runs_dir)
    ledger.freeze(TrialRecord("aaaaaaaaaaaa", Status(status)), container)
    torch.save({}, ledger.trial("aaaaaaaaaaaa").model_path)
    return "aaaaaaaaaaaa"


def test_what_does_not_fit_is_told_with_numbers(make_trial: MakeTrial, tmp_path: Path) -> None:
    source = make_trial("block=llama", "scale.d_model=64", "block.key_value_heads=1")
    name = finished(tmp_path, trial_to_container(source))
    fits = replace(source, init_from=name, init_seed=3)
    assert resolve_init_from(fits, tmp_path) == "trial:aaaaaaaaaaaa"
    causal = replace(fits, architecture=replace(fits.architecture, kind="causal_decoder"))
    assert resolve_init_from(causal, tmp_path) == "trial:aaaaaaaaaaaa"
    with pytest.raises(UsageError) as told:
        resolve_init_from(replace(make_trial("scale.n_layers=3"), init_from=name), tmp_path)
    lines = str(told.value).splitlines()
    assert lines[0] == "init_from=aaaaaaaaaaaa: these weights do not fit this trial's model."
    for line in (
        "  block.kind: llama there, gptj here",
        "  scale.n_layers: 2 there, 3 here",
        "  scale.d_model: 64 there, 32 here",
    ):
        assert line in lines
    assert lines[-1].startswith(
        "Type block=llama scale.n_layers=2 scale.d_model=64 block.key_value_heads=1 block.mlp_ratio="
    )


def test_what_is_typed_fits(make_trial: MakeTrial, tmp_path: Path) -> None:
    source = make_trial("block=llama", "scale.d_model=64", "block.key_value_heads=1", "block.mlp_ratio=2.1")
    name = finished(tmp_path, trial_to_container(source))
    with pytest.raises(UsageError) as told:
        resolve_init_from(replace(make_trial(), init_from=name), tmp_path)
    typed = str(told.value).splitlines()[-1].removeprefix("Type ").split(" ")
    assert resolve_init_from(replace(make_trial(*typed), init_from=name), tmp_path) == "trial:aaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tokenizer": {"mask_sentinels": 8}}, "tokenizer.mask_sentinels: 8 there, 16 here"),
        ({"corpus": {"manifest_sha256": "0" * 64}}, "its tokenizer was trained on other text"),
        ({"corpus": {"test_fraction": 0.1}}, "its tokenizer was trained on other text"),
    ],
)
def test_token_ids_that_mean_other_words_are_refused(
    make_trial: MakeTrial, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    trial = make_trial()
    container = trial_to_container(trial)
    for group, values in change.items():
        container[group] |= values
    with pytest.raises(UsageError, match=told):
        resolve_init_from(replace(trial, init_from=finished(tmp_path, container)), tmp_path)


def test_weights_that_are_not_there_are_told(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    name = finished(tmp_path / "runs", trial_to_container(trial), status="failed")
    with pytest.raises(UsageError, match="aaaaaaaaaaaa: this trial is failed, so it has no weights"):
        resolve_init_from(replace(trial, init_from=name), tmp_path / "runs")
    name = finished(tmp_path / "whole", trial_to_container(trial))
    given = replace(trial, init_from=name)
    assert resolve_init_from(given, tmp_path / "whole") == f"trial:{name}"
    weights = Ledger(tmp_path / "whole").trial(name).model_path
    weights.write_bytes(weights.read_bytes()[:-30])
    with pytest.raises(UsageError, match=r"init_from=aaaaaaaaaaaa: .*model\.pt is missing or damaged"):
        resolve_init_from(given, tmp_path / "whole")
    weights.unlink()
    with pytest.raises(UsageError, match=r"init_from=aaaaaaaaaaaa: .*model\.pt is missing or damaged"):
        resolve_init_from(given, tmp_path / "whole")
    with pytest.raises(UsageError, match=r"init_from=aaaa: neither a trial in .* nor a folder"):
        resolve_init_from(replace(trial, init_from="aaaa"), tmp_path / "runs")
    folder = tmp_path / "model"
    folder.mkdir()
    given = replace(trial, init_from=str(folder))
    with pytest.raises(UsageError, match=r"no readable config\.json"):
        resolve_init_from(given, tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        UsageError, match=r"model_type=bert: this type of model is not supported\. Allowed: codegen, llama\."
    ):
        resolve_init_from(given, tmp_path)
    config = {"model_type": "codegen", "n_layer": 2, "n_embd": 48, "n_head": 3, "rotary_dim": 8, "vocab_size": 340}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"scale.d_model: 48 there, 32 here\n  scale.n_heads: 3 there, 2 here"):
        resolve_init_from(given, tmp_path)
    wide = replace(given, scale=replace(given.scale, d_model=48, n_heads=3))
    with pytest.raises(UsageError, match=r"no weights. Allowed: model.safetensors or pytorch_model.bin"):
        resolve_init_from(wide, tmp_path)
    zeros = {name: torch.zeros(shape) for name, shape in shapes_of(wide).items()}
    save_file(zeros, folder / "model.safetensors")
    first = resolve_init_from(wide, tmp_path)
    assert first.startswith("sha256:")
    save_file({name: weight + 1 for name, weight in zeros.items()}, folder / "model.safetensors")
    assert resolve_init_from(wide, tmp_path) != first
    encodes = replace(wide, architecture=replace(wide.architecture, kind="encoder_decoder"))
    with pytest.raises(UsageError, match="architecture=encoder_decoder also has an encoder"):
        resolve_init_from(encodes, tmp_path)
