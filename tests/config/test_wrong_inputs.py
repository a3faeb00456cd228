"""Wrong commands: exit code, one message with what was given, what is allowed and what to type; nothing is written.

A row is a command and a part of its message.
"""

import shlex
from pathlib import Path

import pytest

from tests.support.in_process import run_in_process

VERBS = [
    ("trian", "trian: no such verb. Allowed: cancel, completion, "),
    ("statuss", "statuss: no such verb. Did you mean status?"),
    ("budget=smoke foo", "foo: is no option. Options have the form key=value."),
    ("'a b'=c", "a b=c: 'a b' is no key. Options have the form key=value, as objective=prefix."),
    ("objective", "objective: has no value. Type objective=VALUE."),
    ("optimizer.learning_rate", "optimizer.learning_rate: has no value. Type optimizer.learning_rate=VALUE."),
    ("=3", "=3: has no key. Options have the form key=value."),
    ("+=3", "+=3: has no key."),
    ("objective=mixed status", "status: a verb comes first: python -m ablate status …"),
    ("run status", "status: a verb comes first: python -m ablate status …"),
    ("plan --budget 3", "--budget 3: takes device hours or US dollars, a number with its unit. Type --budget 300h or"),
    ("plan --budget 3eur", "--budget 3eur: takes device hours or US dollars"),
    ("plan --fit", "--fit: needs --device, because what fits depends on it. Type --device H100"),
    ("plan --device H100", "--device H100: is a GPU, and hardware.accelerator is cpu. Type hardware=gpu"),
    ("plan --device V100", "--device V100: no such choice. "),
    ("status", "there is no ledger here. Run a grid, or type where it is: runs_dir=PATH"),
    ("status runs_dir=nowhere", "/nowhere: there is no ledger here."),
    ("status run_dir=x", "status: takes no run_dir=x. Did you mean runs_dir=x? Usage:"),
    ("status objective=causal", "status: takes no objective=causal without -m. Usage:"),
    ("lessons", "there is no ledger here."),
    ("lessons runs_dir=", "lessons: runs_dir= is empty. Usage:"),
    (
        "lessons objective=causal",
        "lessons: takes no objective=causal without -m. Usage:\n  python -m ablate lessons [NAME …]",
    ),
    ("lessons -m objective=causal,prefix", "was not run below"),
    ("paper experiment=lesson2_infill", "paper takes no grid. Leave experiment= and sweeps= out."),
    ("paper foo", "paper foo: takes no names. Usage:"),
    ("paper outt=x", "paper: takes no outt=x. Did you mean out=x?"),
    ("restore", "restore: takes one folder. Usage:"),
    ("restore one two", "restore one two: takes one folder. Usage:"),
    ("restore nowhere", "nowhere: there is no archive here. `paper archive=FOLDER` writes one."),
    ("restore nowhere objective=causal", "restore nowhere: takes no objective=causal. Usage:"),
    ("paper -m objective=causal", "paper takes no grid. Leave -m out."),
    ("dashboard foo=1", "dashboard: takes no foo=1. Usage:"),
    ("data", "data: needs one of prepare, show, stats, verify after it."),
    ("data objective=causal", "data: needs one of prepare, show, stats, verify after it."),
    ("data prepar", "data prepar: unknown. Did you mean prepare?"),
    ("data show -1", "data -1: is read as a flag. Rows and ids have no minus sign."),
    ("data prepare 7", "data prepare 7: takes a grid's overrides only, such as corpus=wheels."),
    ("cancel", "cancel: takes ids of trials, grids or tunings; `python -m ablate status` shows what is submitted."),
    ("cancel 22fc508283ba", "there is no ledger here."),
    ("cancel --no", "cancel --no: no such flag. Did you mean --now?"),
    ("diff", "diff: takes two trial ids, or one and the overrides of another trial. Usage:"),
    ("diff 22fc508283ba", "diff 22fc508283ba: takes two trial ids"),
    ("diff a b c", "diff a b c: takes two trial ids"),
    ("diff 22fc508283ba budget=smoke", "22fc508283ba: no such trial below"),
    ("retry", "retry: takes ids of trials, grids or tunings; `python -m ablate status` shows what failed."),
    ("retry foo", "there is no ledger here."),
    ("evaluate", "evaluate: needs suites=NAME,NAME. Allowed: bits_per_byte, "),
    ("evaluate suites=humaneval", "evaluate: takes ids of trials, grids or tunings, or labels of arms. Usage:"),
    ("evaluate suites=humaneval causal", "there is no ledger here."),
    ("evaluate -m suites=humaneval", "evaluate takes no grid. Leave -m out."),
    ("export", "export: takes a trial id and a folder. Usage:"),
    (
        "export 22fc508283ba",
        "export 22fc508283ba: takes a trial id and a folder. Usage:\n  python -m ablate export ID DIR",
    ),
    ("export a b c", "export a b c: takes a trial id and a folder."),
    ("gc foo", "gc foo: takes no names. Usage:"),
    ("gc objective=causal", "gc: takes no objective=causal. Usage:"),
    ("completion", "completion: takes one of bash, zsh, fish. Usage:"),
    ("completion tcsh", "completion tcsh: takes one of bash, zsh, fish."),
    ("completion bash zsh", "completion bash zsh: takes one of bash, zsh, fish."),
    ("completion bash x=1", "completion bash: takes no x=1."),
]
FLAGS = [
    ("--hepl", "--hepl: no such flag. Did you mean --help? Allowed: "),
    ("-x", "-x: no such flag. Allowed: --cfg, "),
    ("-v", "-v: no such flag. Type python -m ablate --version."),
    ("--version=1", "--version: no such flag. Type python -m ablate --version."),
    ("-mx", "-mx: no such flag. Did you mean -m?"),
    ("-m=3", "-m=3: no such flag. Did you mean -m?"),
    ("-sc install=bash", "-sc: no such flag. Type python -m ablate completion bash (or zsh, fish)."),
    ("--shell-completion x", "--shell-completion: no such flag. Type python -m ablate completion bash"),
    ("-c job", "-c: no such flag. Type --cfg job."),
    ("-p budget", "-p: no such flag. Type --package KEY, with --cfg job."),
    ("-i", "-i: no such flag. Type --info all."),
    ("-cd x", "-cd: no such flag. Type --config-dir DIR."),
    ("-cn foo", "-cn: no such flag. ablate has one configuration. Type --config-dir DIR"),
    ("--run", "--run: no such flag. Leave it out: without -m, one trial runs."),
    ("--experimental-rerun x", "Repeat the command: it runs what is missing."),
    ("--cfg", "--cfg: needs a value. Type --cfg job"),
    ("--cfg foo", "--cfg foo: no such choice. Allowed: all, hydra, job. Type --cfg job"),
    ("--cfg=foo", "--cfg foo: no such choice."),
    ("--info foo", "--info foo: no such choice. Allowed: all, config, "),
    ("--package budget", "--package: is for --cfg. Type --cfg job --package KEY"),
    ("--resolve", "--resolve: is for --cfg. Type --cfg job --resolve"),
    ("-m --cfg job", "-m runs a grid and --cfg prints one configuration: leave one of them out."),
    ("-m --info all", "leave one of them out."),
    ("--config-dir", "--config-dir: needs a value. Type --config-dir DIR"),
    ("--config-dir nowhere", "--config-dir nowhere: is no folder."),
    ("--config-dir nowhere status -m objective=causal", "--config-dir nowhere: is no folder."),
    ("status -m --config-dir=nowhere objective=causal", "--config-dir nowhere: is no folder."),
    ("--config-dir=nowhere gc", "--config-dir nowhere: is no folder."),
    ("data --config-dir=nowhere show", "--config-dir nowhere: is no folder."),
    ("--", "--: not needed here. Leave it out."),
    ("-- status", "--: not needed here."),
    ("-", "-: no such verb."),
    ("status --jsn", "status --jsn: no such flag. Did you mean --json?"),
    ("status --json=3", "--json=3: takes no value. Type --json"),
    ("lessons --htm", "lessons --htm: no such flag. Did you mean --html?"),
    ("run --dryrun", "--dryrun: no such flag. Did you mean --dry-run?"),
    ("gc --trails", "gc --trails: no such flag. Did you mean --trials?"),
    ("gc --dry-run", "gc --dry-run: no such flag. Allowed: --config-dir, --delete, "),
    ("gc -m", "gc takes no grid. Leave -m out."),
    ("gc --cfg job", "gc takes no grid. Leave --cfg out."),
    ("status --dry-run", "status --dry-run: no such flag. Allowed: --all, "),
    ("export --fresh", "export --fresh: no such flag. Allowed: "),
    ("export 22fc508283ba out --qkv-groups", "--qkv-groups: needs a value. Type --qkv-groups N"),
    ("completion --json", "completion --json: no such flag. Allowed: "),
]
WRITTEN = [
    ("objective==causal", "objective==causal: has two equals signs. Type objective=causal"),
    ("objective=causal,", "objective=causal,: ends with a comma. Type objective=causal"),
    ("'objective=causal,prefix)'", "has characters that need quotes. Type 'objective=\"causal,prefix)\"'"),
    ("objective=漢字", "objective=漢字: has characters that need quotes. Type 'objective=\"漢字\"'"),
    ("漢字=3", "漢字=3: '漢字' is no key."),
    ("precision=it\\'s", 'Type "precision=\\"it\'s\\""'),
    ("'mixture.weights={code: 1'", "Lists are [a, b], mappings are {key: value, key: value}."),
    ("mixture.stages=[1", "Lists are [a, b], mappings are {key: value, key: value}."),
    ("'optimizer.learning_rate=foo(1)'", "foo is no function. Allowed: bool, choice, float, glob, int, interval,"),
    ("'optimizer.learning_rate=ranje(1,2)'", "ranje is no function. Did you mean range?"),
    ("objective=null", "objective=null: no such choice. Allowed: causal, "),
    ("budget=3", "budget=3: no such choice. Allowed: chinchilla, demo, paper, proxy, proxy_2m, smoke."),
    ("+objective=prefix", "+objective: the group has a choice already. Leave the + out: objective=CHOICE"),
    ("~budget", "~budget: a key that trials need, or one that has no value here. Leave it out."),
    ("~foo", "~foo: a key that trials need, or one that has no value here. Leave it out."),
    ("'optimizer.learning_rate=${foo}'", "optimizer.learning_rate=${foo}: refers to an unknown key."),
]
CHOICES = [
    ("objective=causl", "objective=causl: no such choice. Did you mean causal? Allowed: causal, mixed,"),
    ("objective=", "objective=: no such choice. Allowed: causal, "),
    ("scale=9z", "scale=9z: no such choice. Allowed: 1.4m, 150m, 160k, 16b, 1b, "),
    ("budget=tiny", "budget=tiny: no such choice. Allowed: chinchilla, demo, "),
    ("corpus=wiki", "corpus=wiki: no such choice. Allowed: codegen2, "),
    ("cleaning=strict", "cleaning=strict: no such choice. Allowed: near_duplicates, none, standard."),
    ("tokenizer=bpe", "tokenizer=bpe: no such choice. Did you mean bpe_512? Allowed: bpe_4096, "),
    ("infill=pms", "infill=pms: no such choice. Did you mean spm?"),
    ("architecture=encoder", "architecture=encoder: no such choice. Did you mean encoder_decoder?"),
    ("hardware=tpu", "hardware=tpu: no such choice. Did you mean gpu?"),
    ("evaluation=foo", "evaluation=foo: no such choice. Allowed: bits_per_byte, "),
    ("evaluation=[infill,foo]", "evaluation=foo: no such choice. Allowed: bits_per_byte, "),
    ("experiment=lesson9", "experiment=lesson9: no such choice. Allowed: augmentation_control, codegen2_recipe, "),
    ("sweeps=foo", "sweeps=foo: no such choice. Allowed: infill, "),
    ("hydra/launcher=slrm", "hydra/launcher=slrm: no such choice. Did you mean slurm? Allowed: "),
    ("launcher=slrm", "hydra/launcher=slrm: no such choice. Did you mean slurm?"),
]
KEYS = [
    ("objektive=causal", "objektive: unknown key. Did you mean objective?"),
    ("learning_rat=1", "learning_rat: unknown key. Did you mean optimizer.learning_rate?"),
    ("learning_rate=1e-3", "learning_rate: unknown key. Did you mean optimizer.learning_rate?"),
    ("lr=1", "lr: unknown key. Did you mean optimizer.learning_rate? Allowed: architecture,"),
    ("optimizer.lr=1", "optimizer.lr: unknown key. Did you mean optimizer.learning_rate? Allowed: beta1,"),
    ("batch_size=8", "batch_size: unknown key. Did you mean budget.rows_per_step?"),
    ("epochs=3", "epochs: unknown key. Did you mean mixture.epochs?"),
    ("tokens=3", "tokens: unknown key. Did you mean budget.train_tokens or schedule.decay_tokens?"),
    ("budget.train_token=5", "budget.train_token: unknown key. Did you mean budget.train_tokens?"),
    ("+budget.foo=1", "budget.foo: unknown key. Allowed: matched_on, rows_per_step, train_tokens."),
    ("scale.d_model.x=3", "scale.d_model.x: scale.d_model has no keys below it. Type scale.d_model=VALUE"),
    ("'scale={d_model: 3, foo: 4}'", "scale.foo: unknown key. Allowed: activation_checkpointing, context_tokens,"),
    ("objective.tasks.prefix.fraction_max=1", "objective.tasks.prefix.fraction_max: belongs to objective=prefix."),
    ("corpus.sources.text.files.path=/tmp", "belongs to corpus=files. Type that too, or leave"),
    ("mixture.weights.docs=1", "For weights of your own: mixture=own 'mixture.weights={code: 1, docs: 3}'"),
    ("'lesson.contrasts={a: {weights: {x: 1}}}'", "To add a name of your own: '+lesson.contrasts={a: "),
    ("launcher=slurm launcher.partion=x", "launcher.partion: unknown key of launcher=slurm. Did you mean partition?"),
    ("launcher.partition=x", "launcher.partition: unknown key of launcher=local. Allowed: parallel."),
    ("hydra.sweeper.n_trial=3", "hydra.sweeper.n_trial: unknown key. Did you mean hydra.sweeper.n_trials?"),
    ("hydra.swepper.foo=3", "hydra.swepper.foo: unknown key. Did you mean hydra.sweeper? Allowed: sweeper."),
]
TOGETHER = [
    ("objective=causal --detach", "--detach: the trials of launcher=local run as long as this command."),
    ("-m objective=causal,prefix launcher=slurm launcher.time=soon", "launcher.time=soon: should be minutes,"),
    ("launcher=slurm launcher.time=1", "launcher.signal_seconds=120: should be from 0 up and below launcher.time=1."),
    ("launcher=slurm 'launcher.flags=[\"--array=1\"]'", "--array=1: set by ablate. Type launcher.max_running=…"),
    ("objective=causal,prefix", "several values make a grid; add -m:\n  python -m ablate -m objective=causal,prefix"),
    ("objective=causal objective=prefix", "objective: given 2 times (causal; prefix). Leave all but one out, or"),
    ("-m objective=causal,causal", "causal: two arms are the same. Give each value once."),
    ("-m seed=0,0", "seed=0,0: names a seed twice. Give each seed once."),
    ("-m replicates=5 seed=0,1", "replicates=5 and seed=0,1 contradict each other: 2 seeds per arm. Leave one of them"),
    ("-m replicates=2,3", "replicates=2,3: applies to the whole grid. Give one value."),
    ("-m init_seed=0,1 data_seed=0,1", "init_seed and data_seed are crossed: 4 trials per arm"),
    ("-m max_replicates=8 seed=0,1", "Leave one of them out: max_replicates=null."),
    ("-m seed=0,-1", "seed=-1: a seed is a whole number from 0 up, e.g. seed=0 or seed=0,1,2."),
    (
        "'mixture.weights={code: 1}'",
        "would be merged into the weights of the mixture. For weights of your own: mixture=own",
    ),
    ("trial_id=abc", "trial_id: set by ablate. To run a trial again, repeat its overrides."),
    ("-m 'optimizer.learning_rate=interval(1,0)'", "low=1 must be below high=0."),
    ("-m objective=causal,prefix lesson.baseline=mixed", "no arm has this label. Allowed: causal, prefix."),
    ("-m objective=causal,prefix lesson.baseline=prefx", "no arm has this label. Did you mean prefix?"),
    ("-m objective=causal,prefix 'hydra.sweeper.zip=[[objective]]'", "takes at least two keys that vary together."),
    ("-m objective=causal,prefix 'hydra.sweeper.exclude=[causal]'", "'causal' is not a pattern. Write e.g."),
]
VALUES = [
    ("budget.train_tokens=many", 'budget.train_tokens="many": should be a whole number, as 20000, 20k, 1.5M or 2B.'),
    ("budget.train_tokens=1.5", "budget.train_tokens=1.5: should be a whole number, as 20000,"),
    ("budget.train_tokens=1m", "(schedule.decay_tokens has the same value.)"),
    ("budget.matched_on=tokens", "budget.matched_on=\"tokens\": should be 'train_tokens', 'loss_tokens' or 'flops'."),
    ("scale.d_model=-64", "scale.d_model=-64: should be greater than 0."),
    ("scale.n_heads=3", "scale.d_model=128: must be a multiple of scale.n_heads=3."),
    ("scale.window_tokens=300", "scale.window_tokens=300: must not exceed scale.context_tokens=256."),
    ("plan hardware.price_per_device_hour=2", "a price needs its date. Type hardware.price_date=YYYY-MM-DD too."),
    ("hardware.price_date=2026-11-29", "is the date of a price. Type hardware.price_per_device_hour=DOLLARS too."),
    ("hardware.price_date=May", 'hardware.price_date="May": should be a date, as 2026-11-29.'),
    ("checkpoint.keep_last=0", "checkpoint.keep_last=0: should be greater than 0."),
    ("optimizer.learning_rate=nan", "optimizer.learning_rate=NaN: should be a finite number."),
    ("optimizer.learning_rate=fast", 'optimizer.learning_rate="fast": should be a number, as 0.1 or 1e-3.'),
    ("precision=fp16", "precision=\"fp16\": should be 'fp32' or 'bf16'."),
    ("compile=maybe", 'compile="maybe": should be true or false.'),
    ("seed=1.5", "seed=1.5: a seed is a whole number from 0 up"),
    ("lesson.compare=all", 'lesson.compare="all": should be a list, as [a, b].'),
    ("runs_dir=null", "runs_dir=null: should be the path of a folder."),
    ("~lesson.confidence", "lesson.confidence: missing; it needs a value."),
    ("mixture=own", "mixture.weights: has no default; give it on the command line: mixture.weights=…"),
    ("tokenizer.vocab_size=300", "tokenizer.mask_sentinels=64 take at least 329."),
    ("schedule.flat_fraction=0.95", "Their sum must be below 1."),
    ("schedule=wsd schedule.cooldown_fraction=1", "schedule.cooldown_fraction=1: with schedule.warmup_fraction=0.05"),
    ("schedule=wsd schedule.continues_at=[420k]", "must rise, below budget.train_tokens=420000."),
    (
        "schedule=wsd schedule.continues_at=[400k]",
        "the cooldown begins at 336000 train tokens, before that. Continue at 336000 or earlier.",
    ),
    (
        "'+schedule.continues_at=[1k]'",
        "continues a stable phase, and schedule.kind=cosine has none. Type schedule=wsd.",
    ),
    (
        "schedule=wsd schedule.continues_at=[1k] mixture.epochs=2",
        "are parts of a budget, so a trial with another budget",
    ),
    ("schedule=wsd schedule.continues_at=[1k]", "at 1000 train tokens, is not finished. Run it first,"),
    ("+optimizer.momentum=0.9", "optimizer.momentum=0.9: belongs to optimizer=muon, which needs it; this is"),
    ("optimizer=muon optimizer.momentum=null", "optimizer.momentum=null: belongs to optimizer=muon, which needs it"),
    ("optimizer.z_loss=-1", "optimizer.z_loss=-1: should be greater than or equal to 0."),
    ("init_scheme=codegen scale.mup_base_width=64", "Type init_scheme=normal, or scale.mup_base_width=null."),
    ("init_scheme=xavier", "init_scheme=\"xavier\": should be 'normal' or 'codegen'."),
    ("mixture.leading_end_of_text=false", "Type mixture.document_mask=false too, or leave it true."),
    ("objective=ul2", "or type scale=4m tokenizer.mask_sentinels=75."),
    ("objective=ul2 scale=4m", "Type tokenizer.mask_sentinels=75, raise"),
    ("evaluation.suites.bits_per_byte.passage_bytes=1", "passage_bytes=1: should be greater than or equal to 2."),
    ("evaluation.suites.bits_per_byte.passages_per_source=0", "passages_per_source=0: should be greater than 0."),
    ("objective=random_loss objective.tasks.random_loss.loss_fraction=2", "should be less than or equal to 1."),
    (
        "'+objective.stages=[{from_fraction: 0.5, probabilities: {spans: 1}}]'",
        "objective.stages.0.probabilities.spans: the objective has no such task. Allowed: causal.",
    ),
    (
        "objective=stages 'objective.stages=[{from_fraction: 0.5, probabilities: {s: 0.5}}]'",
        "objective.stages.0.probabilities: the probabilities must sum to 1; given causal 0, s 0.5, r 0, x 0",
    ),
    ("mixture.packing=groups objective=mixed", "span_corruption of objective.tasks writes <sep> itself."),
    ("mixture.packing=groups infill=sentinel", "Choose infill=psm, spm or joint, or mixture.packing=best_fit."),
    ("infill.rate=0.5", "Choose a format (joint, psm, sentinel, spm), or infill.rate=0."),
    ("architecture=encoder_decoder", "Choose an objective whose rows have one (prefix, span_corruption), or"),
]
WRONG = [*VERBS, *FLAGS, *WRITTEN, *CHOICES, *KEYS, *TOGETHER, *VALUES]


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail instead of training where a command is taken for a right one."""

    def run(*_: object) -> int:
        pytest.fail("the command was taken for a right one")

    monkeypatch.setattr("ablate.verbs.run.run", run)


@pytest.mark.parametrize(("command", "message"), WRONG)
def test_a_wrong_command_is_explained_and_writes_nothing(command: str, message: str, tmp_path: Path) -> None:
    done = run_in_process(tmp_path, *shlex.split(command))
    assert message in done.stderr
    assert done.returncode == 2
    assert done.stderr.startswith("ablate: ")
    assert "Traceback" not in done.stderr
    assert "https://" not in done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_there_are_150_different_wrong_commands() -> None:
    assert len({command for command, _ in WRONG}) == len(WRONG) >= 150
