"""Rows of whole repositories: which files stand together, what separates them, and where infill splits them."""

from pathlib import Path

import numpy as np
import pytest

from ablate.config.parse import composed_from_container
from ablate.config.trial import InfillConfig
from ablate.data.batches.best_fit import BestFit
from ablate.data.batches.stream import Stream
from ablate.data.corpus.token_file import write_token_file
from ablate.data.tokens.grouped_source import GroupedSource
from ablate.data.tokens.shards import open_shards
from ablate.data.tokens.token_source import TokenSource
from ablate.grid.resolve import Resolver
from ablate.objectives.example import SpecialTokens
from ablate.objectives.infill import Infill
from tests.support.text import write_text
from tests.support.trials import small_container

SPECIAL = SpecialTokens.consecutive(0, mask_sentinels=2)
END, SEPARATOR = SPECIAL.end_of_text, SPECIAL.separator


def grouped(folder: Path, groups: list[int], *, opening_tokens: int) -> tuple[GroupedSource, list[list[int]]]:
    """A source in two shards and its texts; each token of text stands once."""
    lengths = np.random.default_rng(0).integers(1, 30, size=len(groups))
    texts = [text.tolist() for text in np.split(np.arange(lengths.sum()) + 100, np.cumsum(lengths)[:-1])]
    documents = [np.array([*[END] * opening_tokens, *text, END], np.int32) for text in texts]
    half = len(groups) // 2
    parts = {0: slice(0, half), 1: slice(half, None)}
    files = tuple(write_token_file(folder / f"{n}.bin", documents[part], 2**20) for n, part in parts.items())
    for number, part in parts.items():
        np.array(groups[part], np.uint64).tofile(folder / f"{number}.groups")
    group_files = tuple(folder / f"{number}.groups" for number in parts)
    source = TokenSource(files, len(groups))
    return GroupedSource(source, group_files, opening_tokens, SEPARATOR, folder / "groups"), texts


@pytest.mark.parametrize("opening_tokens", [0, 1])
def test_the_files_of_a_group_are_one_document(tmp_path: Path, opening_tokens: int) -> None:
    groups = np.random.default_rng(1).integers(2**64, size=20, dtype=np.uint64)[np.arange(60) * 7 % 20].tolist()
    source, texts = grouped(tmp_path, groups, opening_tokens=opening_tokens)
    [(start_G, end_G)] = source.extents()
    assert source.documents == 20
    assert end_G[-1] == source.tokens
    for group, start, end in zip(sorted(set(groups)), start_G.tolist(), end_G.tolist(), strict=True):
        expected: list[int] = []
        for text in (text for text, of_text in zip(texts, groups, strict=True) if of_text == group):
            expected += [SEPARATOR, *text] if expected else [*[END] * opening_tokens, *text]
        assert source.read(start, end).tolist() == [*expected, END]
    whole = source.read(0, source.tokens).tolist()
    for first in range(0, source.tokens - 50, 13):
        assert source.read(first, first + 50).tolist() == whole[first : first + 50], "from inside of a file"


def test_rows_hold_whole_groups_as_segments(tmp_path: Path) -> None:
    source, texts = grouped(tmp_path, [number // 3 for number in range(60)], opening_tokens=1)
    rows = BestFit(source, 128, tmp_path / "packed")
    segments = []
    for row in range(rows.count):
        tokens, lengths = rows.read(row)
        assert len(tokens) <= 128
        segments += [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]
    triples = zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    assert sorted(segments) == sorted([END, *a, SEPARATOR, *b, SEPARATOR, *c, END] for a, b, c in triples)


@pytest.mark.parametrize("name", ["psm", "spm"])
def test_no_middle_crosses_a_file_and_no_token_stands_twice(name: str) -> None:
    infill = Infill.from_config(InfillConfig(name, 0.5, "token", "document", {}))
    assert infill is not None
    files = [np.arange(start, start + 40, dtype=np.int32) for start in range(100, 500, 100)]
    segment = np.concatenate([[END], *[part for file in files for part in ([SEPARATOR], file)][1:], [END]])
    rng, moved_files = np.random.default_rng(0), []
    for _ in range(300):
        moved_T = infill(segment.astype(np.int32), rng, SPECIAL, None)
        if moved_T is None:
            continue
        assert moved_T[[0, -1]].tolist() == [END, END]
        borders = np.flatnonzero(moved_T == SEPARATOR)
        parts = np.split(moved_T[1:-1], borders - 1)
        assert len(parts) == len(files), "each file keeps its place"
        moved_files.append(sum(SPECIAL.middle in part for part in parts))
        for file, part in zip(files, parts, strict=True):
            text = part[part >= 100]
            assert sorted(text.tolist()) == file.tolist(), "every token once, and none of another file"
            if SPECIAL.middle not in part:
                assert text.tolist() == file.tolist()
                continue
            # The middle is the end of its part, and one run of the file.
            assert part[-1] == SPECIAL.end_of_mask
            middle = part[part.tolist().index(SPECIAL.middle) + 1 : -1]
            assert name == "spm" or (np.diff(middle) == 1).all()
    assert np.mean(moved_files) == pytest.approx(2 / (1 - 0.5**4), abs=0.2), "each file at the rate"


def test_a_trial_reads_the_files_of_a_folder_as_one_document(tmp_path: Path) -> None:
    for number in range(24):
        write_text(tmp_path / "text" / f"package_{number}", 3, seed=number)
    overrides = ("mixture=text", "mixture.packing=groups", "scale.window_tokens=4096", "scale.context_tokens=4096")
    container = small_container({"text": tmp_path / "text"}, tmp_path / "cache", *overrides)
    container["corpus"]["sources"]["text"]["files"] |= {"include": ["*/*.txt"], "group_folders": 1}
    trial = Resolver(tmp_path / "cache", lambda message: None)(composed_from_container(container).trial)
    shards = open_shards(trial)
    stream = Stream(shards, trial)
    special = shards.tokenizer.special
    segments = []
    for row in range(stream.orders[0].read):
        window = stream.window(row)
        segments += np.split(window.tokens_T, np.cumsum(window.document_tokens)[:-1])
    files = [int((segment == special.separator).sum()) + 1 for segment in segments]
    assert sum(files) == shards.source("text").documents > len(files)
    assert all((segment[[0, -1]] == special.end_of_text).all() for segment in segments)
