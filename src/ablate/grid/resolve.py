"""Fill in the content hashes of the corpus, tokenizer and weights that a configuration names by path."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablate.config.data import CorpusConfig, ReaderConfig
from ablate.config.parse import plain
from ablate.config.trial import EvaluationConfig, TrialConfig
from ablate.data.corpus.recipe import corpus_folder
from ablate.errors import UsageError
from ablate.evaluation.suite import SUITES
from ablate.identity import digest12
from ablate.objectives.objective import Objective
from ablate.training.initial import check_init_from, resolve_init_from


@dataclass
class Resolver:
    """Fills in the hashes that a trial's id needs; each path is read once.

    Attributes:
        runs_dir: the ledger, which holds the trials that `init_from` may name.
        say: prints a line before a slow step.
        reads_again: read a corpus again if its files have changed.
        reads_corpus: whether a corpus that is not prepared is read; else its trials get ids that no trial has.
    """

    runs_dir: Path
    say: Callable[[str], None]
    reads_again: bool = False
    reads_corpus: bool = True
    _hashes: dict[str, str] = field(default_factory=dict)

    def __call__(self, trial: TrialConfig) -> TrialConfig:
        """Return the trial with all hashes.

        Raises:
            UsageError: a path that does not exist or has the wrong content.
            FailureError: a corpus that cannot be read.
        """
        # Reading a corpus may take hours.
        check_init_from(trial, self.runs_dir)
        trial = replace(
            trial, corpus=_with_absolute_paths(trial.corpus), evaluation=with_absolute_files(trial.evaluation)
        )
        if trial.corpus.manifest_sha256 is None:
            manifest = self._once([plain(trial.corpus), plain(trial.cleaning)], lambda: self._manifest(trial))
            trial = replace(trial, corpus=replace(trial.corpus, manifest_sha256=manifest))
        if trial.tokenizer.is_file:
            trial = self._with_tokenizer(trial)
        if trial.init_from is not None and trial.init_from_id is None:
            trial = self._with_weights(trial)
        return trial

    def _with_tokenizer(self, trial: TrialConfig) -> TrialConfig:
        key = [plain(trial.tokenizer), trial.infill.level, plain(trial.objective)]
        sha256 = self._once(key, lambda: _checked_tokenizer(trial))
        path = _absolute(str(trial.tokenizer.path))
        return replace(trial, tokenizer=replace(trial.tokenizer, sha256=sha256, path=path))

    def _with_weights(self, trial: TrialConfig) -> TrialConfig:
        checked_configs = (trial.scale, trial.block, trial.architecture, trial.tokenizer, trial.corpus)
        key = [trial.init_from, *map(plain, checked_configs)]
        weights_id = self._once(key, lambda: resolve_init_from(trial, self.runs_dir))
        is_folder = weights_id.startswith("sha256:")
        init_from = _absolute(str(trial.init_from)) if is_folder else trial.init_from
        return replace(trial, init_from=init_from, init_from_id=weights_id)

    def _once(self, key: object, compute: Callable[[], str]) -> str:
        name = digest12(key)
        if name not in self._hashes:
            self._hashes[name] = compute()
        return self._hashes[name]

    def _manifest(self, trial: TrialConfig) -> str:
        if not corpus_folder(trial).is_dir() and not self.reads_corpus:
            self.say("The corpus is not prepared, so every trial counts as missing.")
            return hashlib.sha256(f"not read: {plain(trial.corpus)} {plain(trial.cleaning)}".encode()).hexdigest()
        if not corpus_folder(trial).is_dir():
            self.say("Reading the corpus to hash its text …")
        # Imports pyarrow and scipy.
        from ablate.data.corpus.corpus import prepared_corpus
        from ablate.data.corpus.progress import shown_progress

        with shown_progress() as progress:
            return prepared_corpus(trial, progress, again=self.reads_again).manifest_sha256


def _with_absolute_paths(corpus: CorpusConfig) -> CorpusConfig:
    """Make the paths of local files absolute, because a job starts in a different folder."""

    def absolute(reader: ReaderConfig) -> ReaderConfig:
        path = reader.parameters.get("path")
        if not isinstance(path, str) or not Path(path).expanduser().exists():
            return reader
        return replace(reader, parameters=reader.parameters | {"path": _absolute(path)})

    sources = {
        source: {label: absolute(reader) for label, reader in readers.items()}
        for source, readers in corpus.sources.items()
    }
    return replace(corpus, sources=sources)


def with_absolute_files(evaluation: EvaluationConfig) -> EvaluationConfig:
    """Make the paths of benchmarks absolute."""
    suites = {
        name: {
            key: _absolute(value) if name in SUITES and key in SUITES[name].operational and value else value
            for key, value in parameters.items()
        }
        for name, parameters in evaluation.suites.items()
    }
    return replace(evaluation, suites=suites)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _checked_tokenizer(trial: TrialConfig) -> str:
    """Check that a tokenizer file fits the model and the infill, and return its hash."""
    # Imports `tokenizers`, which planning does not need otherwise.
    from ablate.data.tokens.vocabulary import check_tokenizer, file_can_split, tokenizer_sha256

    sha256 = tokenizer_sha256(trial.tokenizer)
    check_tokenizer(trial.tokenizer)
    splits_text = Objective.of(trial).infill is not None and trial.infill.level != "token"
    if splits_text and not file_can_split(trial.tokenizer):
        raise UsageError(
            f"infill.level={trial.infill.level}: splits text inside tokens, which {trial.tokenizer.path} does not "
            "support (only byte-level BPE with GPT-2's regex does). Set infill.level=token, or use another tokenizer."
        )
    return sha256
