"""Texts in pip packages. They are read as data; nothing is imported or run."""

import ast
import bz2
import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ablate.config.fields import CountOrZero
from ablate.data.corpus.readers.paths import group_of
from ablate.data.corpus.readers.reader import Part, Problem, RawDocument, bytes_of_file, document_of
from ablate.errors import FailureError


@dataclass(frozen=True, kw_only=True)
class PackageFiles:
    """Files of an installed package whose path matches a glob pattern.

    Files that share their first `group_folders` folders are in one split, with their tests; 0: each file by itself.
    """

    package: str
    version: str
    pattern: str
    language: str
    group_folders: CountOrZero = 0

    def parts(self) -> list[Part]:
        """Return one part with all files."""
        return [_part(self.package, *self._files())]

    def _files(self) -> list[Path]:
        files = sorted(_installed(self.package, self.version), key=str)
        return [Path(str(file.locate())) for file in files if file.match(self.pattern)]

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield each file, sorted by path."""
        root = Path(str(importlib.metadata.distribution(self.package).locate_file("")))
        for path in part.files:
            place = path.relative_to(root)
            group = group_of(place.parent, self.group_folders)
            yield document_of(path, f"{self.package}/{place}", self.language, group and f"{self.package}/{group}")


@dataclass(frozen=True, kw_only=True)
class _OneFile:
    """One file of an installed package."""

    package: str
    version: str
    file: str
    language: str

    def parts(self) -> list[Part]:
        """Return one part with the file."""
        return [_part(self.package, one_file(self.package, self.version, self.file))]


@dataclass(frozen=True, kw_only=True)
class WikipediaDump(_OneFile):
    """Articles of a bz2-compressed MediaWiki dump, without markup and redirects."""

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield each article."""
        from gensim.corpora.wikicorpus import extract_pages, filter_wiki

        with bz2.open(part.files[0]) as dump:
            for title, markup, _ in extract_pages(dump, ("0",)):
                if not markup.lstrip().lower().startswith("#redirect"):
                    text = re.sub("'{2,}", "", filter_wiki(markup))
                    yield RawDocument(f"wikipedia/{title}", re.sub(r"\n{3,}", "\n\n", text).strip(), self.language)


@dataclass(frozen=True, kw_only=True)
class BibleChapters(_OneFile):
    """Chapters of a `pythonbible` translation; the chapters of a book are in one split.

    The package has one call `Bible(version, text, starts, ends, …)`. A verse number is
    book × 1 000 000 + chapter × 1 000 + verse.
    """

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield each chapter."""
        module = ast.parse(bytes_of_file(part.files[0]))
        call = next(node for node in ast.walk(module) if isinstance(node, ast.Call))
        text, starts, ends = (ast.literal_eval(argument) for argument in call.args[1:4])
        chapters: dict[int, list[int]] = {}
        for verse in sorted(starts):
            chapters.setdefault(verse // 1000, []).append(verse)
        for chapter, verses in chapters.items():
            name = f"bible/{chapter // 1000}/{chapter % 1000}"
            chapter_text = text[starts[verses[0]] : ends[verses[-1]]].strip()
            yield RawDocument(name, chapter_text, self.language, group=f"bible/{chapter // 1000}")


def _part(package: str, *files: Path) -> Part:
    return Part(package, sum(path.stat().st_size for path in files), files)


def _installed(package: str, version: str) -> list[importlib.metadata.PackagePath]:
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        installed = "not installed"
    if installed != version:
        raise FailureError(
            f"The text is in the package {package} {version}; here it is {installed}.\n"
            f"Install it: pip install '{package}=={version}' (all packages of the demo, from a checkout: "
            "pip install -e '.[demo]')"
        )
    return importlib.metadata.files(package) or []


def one_file(package: str, version: str, file: str) -> Path:
    """Return a file of an installed package of this version. Raises FailureError if it is missing."""
    for candidate in _installed(package, version):
        if str(candidate) == file:
            return Path(str(candidate.locate()))
    raise FailureError(f"The package {package} {version} has no file {file}. Reinstall it.")
