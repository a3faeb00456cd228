"""Where documents come from. Each reader yields (name, text); its keyword-only parameters are what YAML may set."""

import ast
import bz2
import importlib.metadata
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ablate.errors import FailureError, UsageError

Reader = Callable[..., Iterator[tuple[str, str]]]


def package_files(*, package: str, version: str, pattern: str) -> Iterator[tuple[str, str]]:
    """The files of an installed package whose path matches a glob pattern, sorted by path; nothing is imported."""
    files = _installed(package, version)
    for file in sorted(files, key=str):
        if file.match(pattern):
            yield f"{package}/{file}", _text(Path(str(file.locate())))


def wikipedia_dump(*, package: str, version: str, file: str) -> Iterator[tuple[str, str]]:
    """The articles of a bz2-compressed MediaWiki dump inside an installed package, without markup or redirects."""
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki

    path = one_file(package, version, file)
    with bz2.open(path) as dump:
        for title, markup, _ in extract_pages(dump, ("0",)):
            if not markup.lstrip().lower().startswith("#redirect"):
                text = re.sub("'{2,}", "", filter_wiki(markup))
                yield f"wikipedia/{title}", re.sub(r"\n{3,}", "\n\n", text).strip()


def bible_chapters(*, package: str, version: str, file: str) -> Iterator[tuple[str, str]]:
    """The chapters of a `pythonbible` translation; its module is parsed as data and not imported.

    The package holds one call `Bible(version, text, starts, ends, …)`, whose verse numbers are 1BBCCCVVV-like:
    book × 1 000 000 + chapter × 1 000 + verse.
    """
    path = one_file(package, version, file)
    call = next(node for node in ast.walk(ast.parse(_text(path))) if isinstance(node, ast.Call))
    text, starts, ends = (ast.literal_eval(argument) for argument in call.args[1:4])
    chapters: dict[int, list[int]] = {}
    for verse in sorted(starts):
        chapters.setdefault(verse // 1000, []).append(verse)
    for chapter, verses in chapters.items():
        yield f"bible/{chapter // 1000}/{chapter % 1000}", text[starts[verses[0]] : ends[verses[-1]]].strip()


def text_files(*, path: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Your own text: a UTF-8 file, or the files below a folder whose path matches a glob pattern, sorted."""
    root = Path(path).expanduser()
    if not root.exists():
        raise UsageError(f"corpus: {root} does not exist. Give the path of a UTF-8 text file or of a folder of them.")
    files = [root] if root.is_file() else sorted(file for file in root.rglob(pattern) if file.is_file())
    if not files:
        raise UsageError(f"corpus: no file below {root} matches {pattern!r}.")
    for file in files:
        yield str(file), _text(file)


READERS: dict[str, Reader] = {
    reader.__name__: reader for reader in (package_files, wikipedia_dump, bible_chapters, text_files)
}


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FailureError(
            f"{path}: not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}). "
            "Convert the file to UTF-8 or leave it out of the corpus."
        ) from None
    except OSError as error:
        raise FailureError(f"{path}: cannot be read ({error.strerror}).") from None


def _installed(package: str, version: str) -> list[importlib.metadata.PackagePath]:
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    if found != version:
        raise FailureError(
            f"What is to be read is in the package {package} {version}; here it is {found}.\n"
            f"Install it:  python -m pip install '{package}=={version}'   (all of them: pip install 'ablate[demo]')"
        )
    return importlib.metadata.files(package) or []


def one_file(package: str, version: str, file: str) -> Path:
    """A file of an installed package of this version. Raises FailureError where it is not there."""
    for candidate in _installed(package, version):
        if str(candidate) == file:
            return Path(str(candidate.locate()))
    raise FailureError(f"The package {package} {version} holds no file {file}. Reinstall it.")
