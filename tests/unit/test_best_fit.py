from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.data.batches.best_fit import BestFit, packed
from ablate.data.batches.rows import Windows
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.corpus.token_file import write_token_file
from ablate.data.tokens.shards import Shards
from ablate.data.tokens.token_source import TokenSource
from tests.support.trials import MakeTrial


def naive(lengths: list[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing without an index: each segment, the longest first, is compared with every row."""
    rows: list[list[int]] = []
    for segment in sorted(range(len(lengths)), key=lambda segment: -lengths[segment]):
        rooms = [capacity - sum(lengths[index] for index in row) for row in rows]
        fitting = [number for number, room in enumerate(rooms) if room >= lengths[segment]]
        if fitting:
            rows[min(fitting, key=lambda number: (rooms[number], number))].append(segment)
        else:
            rows.append([segment])
    return [sorted(row) for row in rows]


@given(st.lists(st.integers(1, 30), max_size=60))
def test_packing_is_best_fit_decreasing(lengths: list[int]) -> None:
    assert packed(lengths, 30) == naive(lengths, 30)


@pytest.fixture
def source(tmp_path: Path) -> TokenSource:
    """300 documents of up to 90 tokens in two shards, all tokens different."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(1, 90, size=300))
    documents = np.split(np.arange(ends[-1], dtype=np.int32), ends[:-1])
    halves = [documents[:120], documents[120:]]
    files = tuple(write_token_file(tmp_path / f"{n}.bin", half, 2**20) for n, half in enumerate(halves))
    return TokenSource(files, 300)


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_every_token_is_in_one_row_and_short_documents_are_whole(
    source: TokenSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("ablate.data.batches.best_fit.BLOCK_DOCUMENTS", block)
    rows = BestFit(source, 40, tmp_path / "packed")
    read = [rows.read(index) for index in range(rows.count)]
    assert sorted(np.concatenate([tokens for tokens, _ in read]).tolist()) == list(range(source.tokens))
    starts = source.starts(0, 300)
    ends = np.append(starts[1:], source.tokens)
    segments: list[list[int]] = [[] for _ in range(300)]
    for tokens, lengths in read:
        assert len(tokens) == sum(lengths) <= 40
        for segment in np.split(tokens, np.cumsum(lengths)[:-1]):
            document = source.document_at(int(segment[0]))
            assert (np.diff(segment) == 1).all()
            assert source.document_at(int(segment[-1])) == document
            segments[document].append(len(segment))
    for document, length in enumerate((ends - starts).tolist()):
        # Whole rows, and one segment with the rest.
        assert sorted(segments[document], reverse=True) == [40] * (length // 40) + [length % 40] * bool(length % 40)
    assert rows.split_fraction == sum(len(of_document) > 1 for of_document in segments) / 300
    assert rows.padding_fraction == pytest.approx(1 - source.tokens / (40 * len(read)))
    assert rows.padding_fraction < (0.03 if block == 4096 else 0.8)


def test_windows_split_documents_and_need_no_padding(source: TokenSource) -> None:
    windows = Windows(source, 40)
    starts = source.starts(0, 300).tolist()
    ends = [*starts[1:], source.tokens]
    is_split = [start // 40 != (end - 1) // 40 for start, end in zip(starts, ends, strict=True)]
    assert (windows.padding_fraction, windows.split_fraction) == (0.0, sum(is_split) / 300)


def test_packed_rows_are_reused(source: TokenSource, tmp_path: Path) -> None:
    first = BestFit(source, 40, tmp_path / "packed").read(3)
    again = BestFit(source, 40, tmp_path / "packed").read(3)
    assert first[0].tolist() == again[0].tolist()
    assert sorted(path.name for path in tmp_path.glob("packed*")) == ["packed", "packed.lock"]


def test_a_trial_may_pack_its_documents(shards: Shards, make_trial: MakeTrial) -> None:
    trial = make_trial("mixture.packing=best_fit", "objective=mixed")
    stream = TrainBatches(trial, shards).stream
    places = [stream.place(row) for row in range(64)]
    assert len(set(places)) == 64
    _, train_tokens, _ = TrainBatches(trial, shards).batch(range(4))
    assert 0 < train_tokens <= 4 * trial.scale.window_tokens
    other = TrainBatches(make_trial("objective=mixed"), shards).stream
    assert stream.fingerprint != other.fingerprint
