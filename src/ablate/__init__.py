"""ablate: ablations of language-model pre-training that end in a verdict."""

from pathlib import Path

__version__ = "0.1.0"

# Every default, as YAML: inside an installed package, or beside `src` in a checkout.
CONF = next(
    folder for folder in (Path(__file__).parent / "conf", Path(__file__).parents[2] / "conf") if folder.is_dir()
)
