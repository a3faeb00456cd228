"""Which files below a folder are read."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ablate.data.corpus.readers.reader import Part
from ablate.errors import FailureError, UsageError

# Small files are read together, large ones in pieces where their format allows it.
PART_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class FilesBelow:
    """One file, or those below a folder whose path matches one of `include` and none of `exclude`.

    Patterns are globs of the path below the folder, e.g. `src/**/*.py`; one without a slash is of the name alone, and
    of `exclude` also of any folder above it. What lies in a `.git` is never read, nor behind a link to a folder.
    """

    path: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def files(self) -> list[Path]:
        """All of them, sorted.

        Raises:
            UsageError: nothing is there, or nothing matches.
            FailureError: a folder that can't be read.
        """
        root = Path(self.path).expanduser()
        if not root.exists():
            raise UsageError(f"corpus: {root} does not exist. Give the path of a file or of a folder of them.")
        if root.is_file():
            return [root]
        wanted = _wanted(self.include, self.exclude)
        found = [
            Path(folder) / name
            for folder, _, names in os.walk(root, onerror=_unreadable)
            if ".git" not in Path(folder).relative_to(root).parts
            for name in names
            if wanted(PurePosixPath(Path(folder, name).relative_to(root).as_posix()))
        ]
        files = sorted(file for file in found if file.is_file())
        if not files:
            without = f" and none of {', '.join(self.exclude)}" if self.exclude else ""
            raise UsageError(f"corpus: no file below {root} matches {', '.join(self.include)}{without}.")
        return files


def _unreadable(error: OSError) -> None:
    raise FailureError(f"{error.filename}: cannot be read ({error.strerror}). Allow it, or leave it out of path.")


def in_parts(files: Sequence[Path]) -> list[Part]:
    """Whole files, small ones together."""
    parts: list[Part] = []
    some: list[Path] = []
    size_bytes = 0
    for path in files:
        size = path.stat().st_size
        if some and size_bytes + size > PART_BYTES:
            parts.append(Part(str(some[0]), size_bytes, tuple(some)))
            some, size_bytes = [], 0
        some.append(path)
        size_bytes += size
    return [*parts, Part(str(some[0]), size_bytes, tuple(some))]


def _wanted(include: Sequence[str], exclude: Sequence[str]) -> Callable[[PurePosixPath], bool]:
    included, excluded = ([_matcher(pattern) for pattern in patterns] for patterns in (include, exclude))

    def wanted(path: PurePosixPath) -> bool:
        if not any(matches(path) for matches in included):
            return False
        return not any(matches(part) for matches in excluded for part in (path, *path.parents))

    return wanted


def _matcher(pattern: str) -> Callable[[PurePosixPath], bool]:
    """`**/` is any number of folders, `*` and `?` stop at a slash; a slash at the end, as of folders, says nothing."""
    pattern = pattern.rstrip("/")
    if "/" not in pattern:
        return lambda path: path.match(pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = re.compile("".join(meaning.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern)))
    return lambda path: regex.fullmatch(str(path)) is not None
