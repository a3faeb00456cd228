from pathlib import Path

import numpy as np
import pytest

from ablate.config import MixtureConfig
from ablate.data.shards import Shards
from ablate.data.stream import Stream
from ablate.errors import FailureError

HALF = MixtureConfig(weights={"code": 0.5, "english": 0.5}, document_mask=True, restart_positions=True)


def test_an_epoch_reads_each_window_once(shards: Shards) -> None:
    stream = Stream(shards, HALF, 40, data_seed=0)
    windows = {source: len(shards.tokens(source)) // 40 for source in stream.sources}
    seen: dict[tuple[int, int], list[int]] = {}
    for row in range(3 * max(windows.values())):
        source, index, epoch = stream.place(row)
        seen.setdefault((source, epoch), []).append(index)
    complete = [(source, indices) for (source, epoch), indices in seen.items() if epoch == 0]
    assert len(complete) == 2
    for source, indices in complete:
        assert sorted(indices) == list(range(windows[stream.sources[source]]))
    assert seen[0, 0] != seen[0, 1][: len(seen[0, 0])]


def test_a_row_is_the_text_at_its_place(shards: Shards) -> None:
    stream = Stream(shards, HALF, 40, data_seed=1)
    for row in (0, 17, 5):
        window = stream.window(row)
        source = stream.sources[window.source]
        first = window.index * 40
        expected = np.asarray(shards.tokens(source)[first : first + 40])
        assert window.tokens_T.tolist() == expected.tolist()
        starts = set(np.asarray(shards.starts(source)).tolist())
        changes = [first + i for i in range(1, 40) if window.document_T[i] != window.document_T[i - 1]]
        assert changes == [position for position in range(first + 1, first + 40) if position in starts]


def test_rows_need_no_earlier_rows(shards: Shards) -> None:
    forward = [Stream(shards, HALF, 40, 0).window(row).tokens_T.tolist() for row in range(20)]
    backward = [Stream(shards, HALF, 40, 0).window(row).tokens_T.tolist() for row in reversed(range(20))]
    assert forward == backward[::-1]


def test_a_source_shorter_than_a_window_is_refused(shards: Shards) -> None:
    with pytest.raises(FailureError, match="less than one window of 1000000"):
        Stream(shards, HALF, 1_000_000, 0)


def test_shards_hold_every_train_document_between_two_borders(shards: Shards, text: dict[str, Path]) -> None:
    end_of_text = shards.tokenizer.special.end_of_text
    tokens, starts = np.asarray(shards.tokens("code"), np.int32), np.asarray(shards.starts("code"))
    written = {path.read_text() for path in text["code"].iterdir()}
    decoded = []
    for first, last in zip(starts, [*starts[1:], len(tokens)], strict=True):
        piece = tokens[first:last]
        assert piece[0] == piece[-1] == end_of_text
        decoded.append(shards.tokenizer.decode(piece[1:-1]))
    held_out = {text for split in ("tune", "test") for _, text in shards.held_out(split, "code")}
    assert set(decoded) | held_out == written
    assert not set(decoded) & held_out
