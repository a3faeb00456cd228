"""ablate: ablations of language-model pre-training that end in a verdict."""

__version__ = "0.1.0"
