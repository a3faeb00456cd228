"""What a configuration names by a path, known by its content: other content is another trial."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablate.config.data import CorpusConfig, ReaderConfig
from ablate.config.parse import plain
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.identity import digest12
from ablate.objectives.objective import Objective
from ablate.training.initial import resolve_init_from


@dataclass
class Resolver:
    """Fills in the hashes that a trial's id needs; each path is read once.

    Attributes:
        runs_dir: where the trials are that others start from.
        say: told what takes long.
        reads_anew: takes files of a corpus as they are now that changed since they were read.
    """

    runs_dir: Path
    say: Callable[[str], None]
    reads_anew: bool = False
    _found: dict[str, str] = field(default_factory=dict)

    def __call__(self, trial: TrialConfig) -> TrialConfig:
        """The trial with every hash.

        Raises:
            UsageError: a path that is not there or not what it should be.
            FailureError: a corpus that can't be read.
        """
        trial = replace(trial, corpus=_placed(trial.corpus))
        if trial.corpus.manifest_sha256 is None:
            manifest = self._once([plain(trial.corpus), plain(trial.cleaning)], lambda: self._manifest(trial))
            trial = replace(trial, corpus=replace(trial.corpus, manifest_sha256=manifest))
        if trial.tokenizer.kind == "file":
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
        what_must_fit = (trial.scale, trial.block, trial.architecture, trial.tokenizer, trial.corpus)
        key = [trial.init_from, *map(plain, what_must_fit)]
        found = self._once(key, lambda: resolve_init_from(trial, self.runs_dir))
        is_folder = found.startswith("sha256:")
        init_from = _absolute(str(trial.init_from)) if is_folder else trial.init_from
        return replace(trial, init_from=init_from, init_from_id=found)

    def _once(self, key: object, find: Callable[[], str]) -> str:
        name = digest12(key)
        if name not in self._found:
            self._found[name] = find()
        return self._found[name]

    def _manifest(self, trial: TrialConfig) -> str:
        # Imports pyarrow, which nothing else needs while planning.
        from ablate.data.corpus.corpus import corpus_folder, prepared_corpus
        from ablate.data.corpus.progress import shown_progress

        if not corpus_folder(trial).is_dir():
            self.say("Reading the corpus, to know its text by its hash …")
        with shown_progress() as progress:
            return prepared_corpus(trial, progress, again=self.reads_anew).manifest_sha256


def _placed(corpus: CorpusConfig) -> CorpusConfig:
    """The corpus with every path of this machine's absolute, as a job needs it that starts in another folder."""

    def placed(reader: ReaderConfig) -> ReaderConfig:
        path = reader.parameters.get("path")
        if not isinstance(path, str) or not Path(path).expanduser().exists():
            return reader
        return replace(reader, parameters=reader.parameters | {"path": _absolute(path)})

    sources = {
        source: {label: placed(reader) for label, reader in readers.items()}
        for source, readers in corpus.sources.items()
    }
    return replace(corpus, sources=sources)


def _absolute(path: str) -> str:
    """A path that means the same to a job that starts in another folder."""
    return str(Path(path).expanduser().absolute())


def _checked_tokenizer(trial: TrialConfig) -> str:
    """The hash of a tokenizer's file, once it is known to fit the model and the infill."""
    # Imports `tokenizers`, which nothing else needs while planning.
    from ablate.data.tokens.vocabulary import check_tokenizer, file_can_split, tokenizer_sha256

    sha256 = tokenizer_sha256(trial.tokenizer)
    check_tokenizer(trial.tokenizer)
    is_cut = Objective.of(trial).infill is not None and trial.infill.level != "token"
    if is_cut and not file_can_split(trial.tokenizer):
        raise UsageError(
            f"infill.level={trial.infill.level}: cuts text inside of tokens, which {trial.tokenizer.path} does not "
            "allow (only byte-level BPE behind GPT-2's regex does). Set infill.level=token, or take another tokenizer."
        )
    return sha256
