"""A model in the layout of CodeGen2's release is scored by the likelihoods that the release's own code gives it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ablate.config.data import TokenizerConfig
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.model import hf_config
from ablate.records.ledger import Ledger
from tests.support.benchmarks import ROWS, write_problems
from tests.support.codegen2 import codegen2_module, write_codegen2
from tests.support.in_process import run_in_process

LAYERS, WIDTH = 2, 64
# The release's: <|endoftext|>, <mask_1>, <sep> and <eom>.
END, MASK, SEPARATOR, END_OF_MASK = 50256, 51199, 50299, 50300


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """A folder with a model and two benchmarks, and the model by the release's code."""
    folder = tmp_path_factory.mktemp("released")
    write_problems(folder / "passages.jsonl", [{"text": "def one(x): return x"}, {"text": "a dog ran"}])
    write_problems(folder / "problems.jsonl")
    with codegen2_module() as module, pytest.MonkeyPatch.context() as patch:
        # The release's shapes take gigabytes.
        patch.setattr(hf_config, "CODEGEN2_SHAPES", ((LAYERS, WIDTH),))
        yield folder, write_codegen2(folder / "model", module, layers=LAYERS, width=WIDTH, heads=8, context=256)


def encode(text: str) -> list[int]:
    config = TokenizerConfig(kind="codegen2", vocab_size=51_200, mask_sentinels=256, path=None, sha256=None)
    return list(Tokenizer.of(config, lambda: iter(())).encode([text])[0].tolist())


def bits(model: Any, prompt: list[int], answer: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the bits of each token of an answer, by the release's code."""
    with torch.no_grad():
        logits_TV = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double()
    chosen_T = logits_TV.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
    return np.asarray(-chosen_T / math.log(2))


def scored(folder: Path, suite: str, file: str, *, leading: bool) -> dict[str, float]:
    """Return the bits of each document under the suite's bits per byte."""
    key = f"evaluation.suites.{suite}"
    words = [f"suites={suite}", f"{key}.file={file}", f"{key}.leading_end_of_text={str(leading).lower()}"]
    words += ["model=model", "tokenizer=codegen2", "objective=mixed", "infill=sentinel"]
    words += [f"{key}.samples=0"] if suite == "humaneval_single_line" else []
    done = run_in_process(folder, "evaluate", *words, "cache_dir=cache")
    assert done.returncode == 0, done.stdout + done.stderr
    [trial] = Ledger(folder / "runs").trials()
    newest = max(trial.path.glob("evaluations/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    rows = pd.read_parquet(newest).query(f"metric == '{suite}_bpb'")
    return dict(zip(rows["document"], rows["amount"], strict=True))


@pytest.mark.parametrize("leading", [False, True])
def test_texts_have_the_likelihoods_of_the_release(release: tuple[Path, Any], leading: bool) -> None:
    folder, model = release
    amounts = scored(folder, "lambada", "passages.jsonl", leading=leading)
    for document, prompt, answer in (("LAMBADA/0", "def one(x): return", " x"), ("LAMBADA/1", "a dog", " ran")):
        expected = bits(model, [END] * leading + encode(prompt), encode(answer)).sum()
        assert amounts[document] == pytest.approx(expected, rel=1e-5)


def test_middles_have_the_likelihoods_of_the_release(release: tuple[Path, Any]) -> None:
    folder, model = release
    amounts = scored(folder, "humaneval_single_line", "problems.jsonl", leading=False)
    assert len(amounts) == 6
    prefix, middle, suffix = ROWS[1]["prompt"] + "\n", "    y = x - 2\n", "    return y\n"
    prompt = [*encode(prefix), MASK, *encode(suffix), END, SEPARATOR, MASK]
    # The token that ends the middle is no byte of it.
    expected = bits(model, prompt, [*encode(middle), END_OF_MASK])[:-1].sum()
    assert amounts["SingleLineInfilling/Small/1/L0"] == pytest.approx(expected, rel=1e-5)
