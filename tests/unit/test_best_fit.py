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
    """Best fit as one would tell it: each piece, the longest first, looks at every row."""
    rows: list[list[int]] = []
    for piece in sorted(range(len(lengths)), key=lambda piece: -lengths[piece]):
        rooms = [capacity - sum(lengths[other] for other in row) for row in rows]
        fitting = [number for number, room in enumerate(rooms) if room >= lengths[piece]]
        if fitting:
            rows[min(fitting, key=lambda number: (rooms[number], number))].append(piece)
        else:
            rows.append([piece])
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
    cut = 0
    for tokens, lengths in read:
        assert len(tokens) == sum(lengths) <= 40
        for piece in np.split(tokens, np.cumsum(lengths)[:-1]):
            document = source.document_at(int(piece[0]))
            assert (np.diff(piece) == 1).all()
            assert source.document_at(int(piece[-1])) == document
            assert len(piece) == min(40, ends[document] - starts[document]) or len(piece) < 40
            cut += int(piece[0]) == starts[document] and len(piece) < ends[document] - starts[document]
    assert rows.split_fraction == cut / 300
    assert rows.padding_fraction == pytest.approx(1 - source.tokens / (40 * len(read)))
    assert rows.padding_fraction < (0.03 if block == 4096 else 0.8)


def test_windows_cut_and_pad_nothing(source: TokenSource) -> None:
    windows = Windows(source, 40)
    starts = source.starts(0, 300).tolist()
    ends = [*starts[1:], source.tokens]
    cut = [start // 40 != (end - 1) // 40 for start, end in zip(starts, ends, strict=True)]
    assert (windows.padding_fraction, windows.split_fraction) == (0.0, sum(cut) / 300)


def test_rows_are_found_again(source: TokenSource, tmp_path: Path) -> None:
    first = BestFit(source, 40, tmp_path / "packed").read(3)
    again = BestFit(source, 40, tmp_path / "packed").read(3)
    assert first[0].tolist() == again[0].tolist()
    assert sorted(path.name for path in tmp_path.glob("packed*")) == ["packed", "packed.lock"]


def test_a_trial_may_pack(shards: Shards, make_trial: MakeTrial) -> None:
    trial = make_trial("mixture.packing=best_fit", "objective=mixed")
    stream = TrainBatches(trial, shards).stream
    places = [stream.place(row) for row in range(64)]
    assert len(set(places)) == 64
    _, train_tokens, _ = TrainBatches(trial, shards).batch(range(4))
    assert 0 < train_tokens <= 4 * trial.scale.window_tokens
    other = TrainBatches(make_trial("objective=mixed"), shards).stream
    assert stream.fingerprint != other.fingerprint
