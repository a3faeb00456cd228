"""Folders of initial weights that are damaged or of another model are rejected before a corpus is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.model.decoder import Decoder
from ablate.model.hf import to_hugging_face
from ablate.training.initial import check_init_from
from tests.support.command_line import ablate
from tests.support.text import write_text
from tests.support.trials import MakeTrial

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
WHOLE = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path, make_trial: MakeTrial) -> Path:
    trial = make_trial("scale.n_heads=4")
    weights = Decoder.from_config(trial, trial.tokenizer.vocab_size).state_dict()
    config, converted = to_hugging_face(weights, trial, qkv_groups=4, end_of_text=3)
    place = tmp_path / "weights"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
    save_file(converted, place / WHOLE)
    return place


def starting_from(folder: Path, make_trial: MakeTrial) -> TrialConfig:
    return make_trial("scale.n_heads=4", f"init_from='{folder}'")


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Return what rewrites the weights after a change of the mapping."""

    def rewrite(folder: Path) -> None:
        weights = load_file(folder / WHOLE)
        change(weights)
        save_file(weights, folder / WHOLE)

    return rewrite


def pickled(content: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return what writes the weights as a pickle of some content."""

    def rewrite(folder: Path) -> None:
        torch.save(content(load_file(folder / WHOLE)), folder / "pytorch_model.bin")
        (folder / WHOLE).unlink()

    return rewrite


def written(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return what replaces a file by another content; an index takes the place of the weights."""

    def rewrite(folder: Path) -> None:
        before = (folder / WHOLE).read_bytes()
        if name != "config.json":
            (folder / WHOLE).unlink()
        (folder / name).write_bytes(content(before))

    return rewrite


class Anything:
    """Something that a pickle should not hold."""


INDEX = "model.safetensors.index.json"
CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pointer": (written(WHOLE, lambda _: LFS), rf"{WHOLE}: is a Git LFS pointer .* git lfs pull"),
    "empty": (written(WHOLE, lambda _: b""), rf"{WHOLE}: not a whole safetensors file \(empty\)"),
    "truncated": (written(WHOLE, lambda whole: whole[:-9]), rf"{WHOLE}: not a whole safetensors file \(.+\)\. Down"),
    "no header": (written(WHOLE, lambda _: b"<html>" * 9), rf"{WHOLE}: not a whole safetensors file"),
    "index pointer": (written(INDEX, lambda _: LFS), rf"{INDEX}: is a Git LFS pointer"),
    "index of nothing": (written(INDEX, lambda _: b"{}"), rf"{INDEX}: not an index of weights \('weight_map'\)"),
    "index of no file": (
        written(INDEX, lambda _: b'{"weight_map": {"a": "b.safetensors"}}'),
        r"index\.json lists missing files: b\.safetensors",
    ),
    "config pointer": (written("config.json", lambda _: LFS), r"no readable config\.json"),
    "config of texts": (
        written("config.json", lambda _: b'{"model_type": "codegen", "n_embd": "x", "n_head": 4, "n_layer": 2}'),
        r"config\.json: a value that a model of type codegen cannot have",
    ),
    "shape": (
        changed(lambda weights: weights.update({"lm_head.bias": torch.zeros(7)})),
        r"lm_head\.bias has the shape \[7\], and by its config\.json it should have \[340\]",
    ),
    "names": (
        changed(lambda weights: weights.update(other=weights.pop("lm_head.bias"))),
        r"has no weight lm_head\.bias\.",
    ),
    "bias": (
        changed(lambda weights: weights.update({"transformer.h.0.attn.qkv_proj.bias": torch.zeros(96)})),
        r"our blocks have no weights transformer\.h\.0\.attn\.qkv_proj\.bias\.",
    ),
    "type": (
        changed(lambda weights: weights.update({"lm_head.bias": torch.zeros(340, dtype=torch.int8)})),
        r"lm_head\.bias is of type I8\. Allowed: float32",
    ),
    "objects": (pickled(lambda weights: weights | {"a": Anything()}), "holds Python objects other than tensors"),
    "no mapping": (pickled(lambda weights: list(weights.values())), "is not a mapping of names to tensors"),
    "nested": (pickled(lambda weights: {"model": weights}), "is not a mapping of names to tensors"),
    "pickle pointer": (written("pytorch_model.bin", lambda _: LFS), r"pytorch_model\.bin: is a Git LFS pointer"),
    "pickle of text": (written("pytorch_model.bin", lambda _: b"<html>"), r"model\.bin: not a file of weights"),
    "empty pickle": (written("pytorch_model.bin", lambda _: b""), r"pytorch_model\.bin: .* \(empty\)"),
}


@pytest.mark.parametrize("name", CASES)
def test_damaged_weights_are_named(folder: Path, make_trial: MakeTrial, name: str) -> None:
    trial = starting_from(folder, make_trial)
    check_init_from(trial, folder.parent)
    damage, message = CASES[name]
    damage(folder)
    with pytest.raises(UsageError, match=rf"^init_from={folder}: .*{message}"):
        check_init_from(trial, folder.parent)


def test_a_truncated_pickle_is_named(folder: Path, make_trial: MakeTrial) -> None:
    trial = starting_from(folder, make_trial)
    pickled(lambda weights: weights)(folder)
    check_init_from(trial, folder.parent)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UsageError, match=r"pytorch_model\.bin: not a whole file of weights"):
        check_init_from(trial, folder.parent)


def test_damaged_weights_are_rejected_before_the_corpus_is_read(tmp_path: Path, folder: Path) -> None:
    write_text(tmp_path / "text", 5, seed=0)
    (folder / WHOLE).write_bytes(b"")
    done = ablate(tmp_path, f"init_from={folder}", "scale.n_layers=2", "scale.n_heads=4")
    assert (done.returncode, done.stdout, (tmp_path / "cache").exists()) == (2, "", False)
    assert "not a whole safetensors file (empty)" in done.stderr
