"""Where documents come from: readers by the name that YAML gives them."""

from collections.abc import Mapping

from ablate.data.readers.files import TextFiles
from ablate.data.readers.hub import Hub
from ablate.data.readers.jsonl import JsonLines
from ablate.data.readers.packages import BibleChapters, PackageFiles, WikipediaDump
from ablate.data.readers.parquet import Parquet
from ablate.data.readers.reader import Reader
from ablate.data.readers.tokens import MegatronShards

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
