"""Readers of documents, by their name in YAML."""

from collections.abc import Mapping

from ablate.data.corpus.readers.files import TextFiles
from ablate.data.corpus.readers.hub import Hub
from ablate.data.corpus.readers.jsonl import JsonLines
from ablate.data.corpus.readers.packages import BibleChapters, PackageFiles, WikipediaDump
from ablate.data.corpus.readers.parquet import Parquet
from ablate.data.corpus.readers.reader import Reader
from ablate.data.corpus.readers.tokens import MegatronShards

READERS: Mapping[str, type[Reader | MegatronShards]] = {
    "text_files": TextFiles,
    "jsonl": JsonLines,
    "parquet": Parquet,
    "hub": Hub,
    "megatron": MegatronShards,
    "package_files": PackageFiles,
    "wikipedia_dump": WikipediaDump,
    "bible_chapters": BibleChapters,
}
