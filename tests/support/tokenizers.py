"""A sample of text and configurations of every tokenizer."""

from typing import Any

from ablate.config.data import TokenizerConfig

SAMPLE = (
    "one\n \ntwo\n \n" * 3
    + "def add(self, other):\n    return self.value + other\n\n\tthe word  and the   verse é ∑ — 12345\n" * 3
)


def config_of(kind: str, **changes: Any) -> TokenizerConfig:
    chosen: dict[str, Any] = {"path": None, "sha256": None, "mask_sentinels": 8}
    entries = {"bpe": 400, "bytes": 384, "gpt2": 50_368, "codegen2": 51_200, "file": 600}[kind]
    return TokenizerConfig(kind=kind, **{"vocab_size": entries, **chosen, **changes})  # type: ignore[arg-type]
