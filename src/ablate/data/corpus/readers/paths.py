"""Which files in a folder are read."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ablate.data.corpus.readers.reader import Part
from ablate.errors import FailureError, UsageError

# Small files share a part; large ones are divided where their format allows it.
PART_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class FilesBelow:
    """One file, or the files in a folder whose path matches one of `include` and none of `exclude`.

    Patterns are globs of the path relative to the folder, e.g. `src/**/*.py`. A pattern without a slash matches the
    file name; in `exclude`, it also matches the name of any parent folder. Folders named `.git` and symbolic links to
    folders are skipped.
    """

    path: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def files(self) -> list[Path]:
        """Return the files, sorted.

        Raises:
            UsageError: the path does not exist, or no file matches.
            FailureError: a folder that cannot be read.
        """
        root = Path(self.path).expanduser()
        if not root.exists():
            raise UsageError(f"corpus: {root} does not exist. Give path= a file or a folder of files.")
        if root.is_file():
            return [named_in_utf8(root)]
        matches = _matcher_of_all(self.include, self.exclude)
        paths = [
            Path(folder) / name
            for folder, _, names in os.walk(root, onerror=_unreadable)
            if ".git" not in Path(folder).relative_to(root).parts
            for name in names
            if matches(PurePosixPath(Path(folder, name).relative_to(root).as_posix()))
        ]
        files = sorted(named_in_utf8(path) for path in paths if path.is_file())
        if not files:
            excluded = f" but none of exclude={', '.join(self.exclude)}" if self.exclude else ""
            raise UsageError(f"corpus: no file in {root} matches include={', '.join(self.include)}{excluded}.")
        return files


def group_of(folder: PurePath, folders: int) -> str:
    """Return the group of a folder: its first so many parts; a folder of tests belongs to its parent.

    >>> group_of(PurePosixPath("sympy/physics/mechanics/tests"), 3), group_of(PurePosixPath("sympy"), 3)
    ('sympy/physics/mechanics', 'sympy')
    """
    parts = [part for part in folder.parts if part not in ("test", "tests")]
    return "/".join(parts[:folders])


def named_in_utf8(path: Path) -> Path:
    """Return the path. Raises UsageError if its name is not UTF-8: a corpus keeps the names of its files as JSON."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"corpus: the name {os.fsencode(path)!r} is not UTF-8. Rename it (convmv -f latin1 -t utf8 --notest "
            f"FILE converts names from Latin-1), or leave it out by include= or exclude=."
        ) from None
    return path


def _unreadable(error: OSError) -> None:
    raise FailureError(
        f"{error.filename}: cannot be read ({error.strerror}). Fix its permissions, or choose another path."
    )


def in_parts(files: Sequence[Path]) -> list[Part]:
    """Return parts of whole files; small files share a part."""
    parts: list[Part] = []
    group: list[Path] = []
    size_bytes = 0
    for path in files:
        size = path.stat().st_size
        if group and size_bytes + size > PART_BYTES:
            parts.append(Part(str(group[0]), size_bytes, tuple(group)))
            group, size_bytes = [], 0
        group.append(path)
        size_bytes += size
    return [*parts, Part(str(group[0]), size_bytes, tuple(group))]


def _matcher_of_all(include: Sequence[str], exclude: Sequence[str]) -> Callable[[PurePosixPath], bool]:
    included, excluded = ([_matcher(pattern) for pattern in patterns] for patterns in (include, exclude))

    def is_wanted(path: PurePosixPath) -> bool:
        if not any(matches(path) for matches in included):
            return False
        return not any(matches(part) for matches in excluded for part in (path, *path.parents))

    return is_wanted


def _matcher(pattern: str) -> Callable[[PurePosixPath], bool]:
    """`**/` matches any number of folders; `*` and `?` do not match a slash; a slash at the end is ignored."""
    pattern = pattern.rstrip("/")
    if "/" not in pattern:
        return lambda path: path.match(pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = re.compile("".join(meaning.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern)))
    return lambda path: regex.fullmatch(str(path)) is not None
