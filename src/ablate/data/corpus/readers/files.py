"""Your own text: files below a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ablate.config.fields import CountOrZero
from ablate.data.corpus.readers.paths import FilesBelow, group_of, in_parts
from ablate.data.corpus.readers.reader import Part, Problem, RawDocument, document_of

LANGUAGES = {
    ".c": "C", ".h": "C", ".cc": "C++", ".cpp": "C++", ".cxx": "C++", ".hpp": "C++", ".cs": "C#", ".css": "CSS",
    ".go": "Go", ".hs": "Haskell", ".html": "HTML", ".java": "Java", ".jl": "Julia", ".js": "JavaScript",
    ".json": "JSON", ".jsx": "JavaScript", ".kt": "Kotlin", ".lua": "Lua", ".md": "Markdown", ".php": "PHP",
    ".pl": "Perl", ".py": "Python", ".pyi": "Python", ".r": "R", ".rb": "Ruby", ".rs": "Rust", ".rst": "Text",
    ".scala": "Scala", ".sh": "Shell", ".sql": "SQL", ".swift": "Swift", ".tex": "TeX", ".ts": "TypeScript",
    ".tsx": "TypeScript", ".txt": "Text", ".yaml": "YAML", ".yml": "YAML",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TextFiles(FilesBelow):
    """UTF-8 files. Those that share their first `group_folders` folders are in one split; 0: each file by itself."""

    group_folders: CountOrZero = 0

    def parts(self) -> list[Part]:
        """Return parts of whole files; small files share a part."""
        return in_parts(self.files())

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield each file."""
        root = Path(self.path).expanduser()
        root = root if root.is_dir() else root.parent
        for path in part.files:
            group = group_of(path.parent.relative_to(root), self.group_folders)
            yield document_of(path, str(path), LANGUAGES.get(path.suffix.lower(), ""), group)
