"""Every command of README and docs is right: parsed and composed here, and run at small budgets by the slow test.

A block whose commands no test runs has the reason in a comment before it: <!-- not run: … -->.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from ablate import CONF
from ablate.grid import command as hydra_command
from ablate.grid.axis import SEED_KEYS
from ablate.grid.expand import expand, with_params
from ablate.records.ledger import Ledger
from ablate.verbs import commands as command_line
from ablate.verbs.table import VERBS, Composes
from tests.support.documents import ROOT, Command, commands, files, pages, python_blocks
from tests.support.in_process import Completed, run_in_process
from tests.support.text import write_lines, write_text

PAGES = pages()
# Set up a shell, and nothing to test.
SHELL = (". .venv/bin/activate", "cd ")
# What makes trials small, unless a command sets it.
SMALL = {
    "scale.n_layers": "1",
    # Heads for 8 groups of CodeGen2's code.
    "scale.d_model": "64",
    "scale.n_heads": "8",
    "budget.train_tokens": "4000",
    "replicates": "2",
    "max_replicates": "null",
    "evaluation.val_documents_per_source": "2",
    "evaluation.val_evaluations": "1",
    "hydra.sweeper.n_trials": "2",
    "hydra.sweeper.pruner": "none",
    "preparation.workers": "1",
}
OWN_TEXT = {"tokenizer.vocab_size": "400", "corpus.val_fraction": "0.2", "corpus.test_fraction": "0.2"}


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runnable(page: Path) -> list[Command]:
    return [command for command in commands(page) if command.is_ablate and not command.not_run]


def test_commands_are_found() -> None:
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 80
    assert any(
        command.words == ["-m", "objective=causal,prefix,mixed", "replicates=3"]
        for command in found
        if command.is_ablate
    )


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_other_commands_say_why_they_are_not_run(page: Path) -> None:
    unsaid = [command for command in commands(page) if not command.is_ablate and not command.not_run]
    assert [str(command) for command in unsaid if not command.text.startswith(SHELL)] == []


@dataclass(frozen=True)
class Parsed:
    """What a verb would have given to Hydra."""

    arguments: tuple[str, ...]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Parsed]:
    """Keep verbs from running: what they would compose is listed here."""
    found: list[Parsed] = []

    def keep(verb: str, flags: dict[str, Any], overrides: list[str], names: list[str]) -> int:
        # Hydra does not read ~ in a value; the real function puts the home folder in its place.
        words = [hydra_command.with_launcher(word.replace("=~/", "=/home/")) for word in overrides]
        found.append(Parsed((*flags, *words)))
        return 0

    monkeypatch.setattr(hydra_command, "run_hydra", keep)
    monkeypatch.setattr(command_line, "import_module", lambda name: SimpleNamespace(main=lambda arguments: 0))
    return found


@pytest.fixture(scope="module")
def loader() -> Iterator[ConfigLoader]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        # Each file is read once for all commands.
        loader.repository = CachingConfigRepository(loader.repository)  # type: ignore[attr-defined]
        yield loader


@cache
def compose(loader: ConfigLoader, arguments: tuple[str, ...]) -> None:
    """Compose and check the arms of a command as the sweeper does, without reading text."""
    overrides = [word for word in arguments if not word.startswith("-")]
    master = loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
    sweeper: Any = OmegaConf.to_container(master.hydra.sweeper, resolve=False)
    task = with_params(list(master.hydra.overrides.task), sweeper["params"])
    # An interval of a tuning is no value of an arm.
    task = [word for word in task if "interval(" not in word]
    is_grid = "-m" in arguments or bool(sweeper["params"]) or bool(sweeper["space"])
    expand(loader, master, task, is_grid=is_grid, exclude=sweeper["exclude"], zips=sweeper["zip"])


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows."""
    for name, text in files(page):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_commands_of_a_page_parse_and_compose(
    page: Path, loader: ConfigLoader, parsed: list[Parsed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for command in runnable(page):
        parsed.clear()
        try:
            command_line.run_command_line(command.words)
            for one in parsed:
                # The loader knows no other folder; the slow test runs these.
                if "--config-dir" not in one.arguments:
                    compose(loader, one.arguments)
        except Exception as error:
            wrong[str(command)] = f"{type(error).__name__}: {error}"
    assert not wrong, "\n\n".join(f"{command}\n{text}" for command, text in wrong.items())


def test_a_wrong_command_is_found(loader: ConfigLoader, parsed: list[Parsed]) -> None:
    with pytest.raises(Exception, match="no such flag"):
        command_line.run_command_line(["status", "--al"])
    with pytest.raises(Exception, match="objectiv"):
        compose(loader, ("-m", "objective=causal,prefixx"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: text in the places that the pages name, and a ledger with a small grid."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("notes", "text"):
        write_text(folder / name, 60, seed=0)
    write_lines(folder / "text.jsonl.zst", 60, seed=1)
    write_lines(folder / "data" / "text.jsonl", 60, seed=2)
    # The names of lessons on the pages.
    for name in ("lesson2_infill", "my_lesson"):
        done = run(folder, folder, ["-m", "objective=causal,mixed", "tracking=offline", f"lesson.name={name}"])
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def small(words: list[str], cache: Path) -> list[str]:
    """The words of a command with what makes its trials small."""
    verb = VERBS.get(words[0] if words else "", VERBS["run"])
    overrides = [word for word in words if "=" in word and word.partition("=")[0] not in verb.settings]
    if verb.composes is Composes.NOTHING or (verb.is_for_ledger and not overrides):
        return words
    is_own = any(word.startswith("corpus=") for word in words) or "--config-dir" in words
    given = {word.lstrip("+").partition("=")[0] for word in words}
    if given & {*SEED_KEYS, "hydra.sweeper.tune_replicates"}:
        given |= {"replicates", "max_replicates"}
    if "budget.matched_on" in given:
        # A few steps do not match another counter to 1%.
        given.add("budget.train_tokens")
    suites = ["evaluation.suites.bits_per_byte.passages_per_source", "evaluation.suites.infill.middles_per_source"]
    options = {**SMALL, **dict.fromkeys(suites, "4"), **(OWN_TEXT if is_own else {}), "cache_dir": str(cache)}
    return [*words, *(f"{key}={value}" for key, value in options.items() if key not in given)]


def run(home: Path, folder: Path, words: list[str]) -> Completed:
    """Run a command of a page at a small budget."""
    environment = {"HOME": str(home), "COLUMNS": "120"}
    return run_in_process(folder, *small(words, home / "cache"), environment=environment)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=ids)
def test_the_commands_of_a_page_run(page: Path, home: Path, tmp_path: Path) -> None:
    """In the order of the page, in a folder of its own with the ledger of all pages."""
    (tmp_path / "runs").symlink_to(home / "runs")
    shutil.copytree(ROOT / "analysis", tmp_path / "analysis", ignore=shutil.ignore_patterns("out", "*.ipynb"))
    write_files(page, tmp_path)
    trials = [folder.trial_id for folder in Ledger(home / "runs").trials() if folder.model_path.exists()]
    failed = {}
    for command in runnable(page):
        words = [trials[number] if word == "TRIAL" else word for number, word in enumerate_trials(command.words)]
        if words[0] == "export":
            # The page shows two ways to write one folder.
            shutil.rmtree(tmp_path / words[2], ignore_errors=True)
        done = run(home, tmp_path, words)
        if done.returncode != 0:
            failed[str(command)] = done.stdout[-500:] + done.stderr[-1500:]
    assert not failed, "\n\n".join(f"{command}\n{text}" for command, text in failed.items())
    with contextlib.chdir(tmp_path):
        for block in python_blocks(page):
            exec(compile(block, str(page), "exec"), {})


def enumerate_trials(words: list[str]) -> Iterator[tuple[int, str]]:
    """Each word, with how many of the words before it stand for a trial."""
    seen = 0
    for word in words:
        # `TRIAL` is a placeholder, and the ids of examples belong to nobody's ledger.
        is_trial = word == "TRIAL" or re.fullmatch(r"[0-9a-f]{12}", word) is not None
        yield seen, "TRIAL" if is_trial else word
        seen += is_trial
