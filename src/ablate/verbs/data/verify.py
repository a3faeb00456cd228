"""`data verify`: whether what was prepared is still what was written, byte for byte."""

from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.data.corpus.corpus import Corpus, corpus_folder
from ablate.data.corpus.progress import shown_progress
from ablate.data.tokens.shards import Shards, shard_folder
from ablate.data.tokens.token_file import file_sha256, shard_sha256
from ablate.errors import FailureError, UsageError
from ablate.grid.plan import Plan
from ablate.verbs.data.prepare import each_data


def of_grid(plan: Plan, names: list[str], console: Console) -> int:
    """Reads every file of the grid's corpora and shards. Raises UsageError; FailureError: a file that differs."""
    if names:
        raise UsageError(f"data verify {' '.join(names)}: takes a grid's overrides only, as corpus=wheels.")
    wrong: list[str] = []
    for trial in each_data(plan):
        shards = Shards(shard_folder(trial), trial.tokenizer)
        if not shards.folder.is_dir():
            raise FailureError(f"{shards.folder} is not there: nothing was prepared for this. data prepare makes it.")
        folders: dict[Path, dict[str, Any]] = {shards.folder: shards.facts}
        corpus = Corpus(corpus_folder(trial))
        if corpus.folder.is_dir():
            folders[corpus.folder] = corpus.facts
            wrong += [
                f"{part.path}, or its .idx: changed since the corpus was prepared"
                for source in trial.corpus.sources
                for part in corpus.token_parts(source)
                if shard_sha256(Path(part.path)) != part.sha256
            ]
        for folder, facts in folders.items():
            found = _differing(folder, facts["checksums"])
            wrong += found
            count = len(facts["checksums"])
            word = f"{len(found)} of {count} files differ" if found else f"{count} files as they were written"
            console.print(f"{folder}: {word}", soft_wrap=True, highlight=False, style="red" if found else "")
    if wrong:
        raise FailureError(
            "Damaged:\n" + "\n".join(f"  {line}" for line in wrong) + "\nDelete these folders; data prepare makes "
            "them again, and trials keep their ids."
        )
    return 0


def _differing(folder: Path, checksums: dict[str, str]) -> list[str]:
    wrong = []
    with shown_progress() as progress:
        paths = {folder / name: sha256 for name, sha256 in checksums.items()}
        sizes = {path: path.stat().st_size for path in paths if path.exists()}
        bar = progress.add_task("verifying", total=sum(sizes.values()))
        for path, sha256 in paths.items():
            if path not in sizes:
                wrong.append(f"{path}: gone")
            elif file_sha256(path) != sha256:
                wrong.append(f"{path}: changed since it was written")
            progress.advance(bar, sizes.get(path, 0))
    return wrong
