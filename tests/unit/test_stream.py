from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.data.batches.epoch_order import EpochOrder
from ablate.data.batches.stream import Stream
from ablate.data.tokens.shards import Shards, open_shards
from ablate.errors import FailureError, UsageError
from tests.support.trials import MakeTrial

MakeStream = Callable[..., Stream]


@pytest.fixture
def make_stream(shards: Shards, make_trial: MakeTrial) -> MakeStream:
    def make(*overrides: str, **changes: Any) -> Stream:
        return Stream(shards, make_trial("scale.window_tokens=40", *overrides, **changes))

    return make


def test_an_epoch_reads_each_window_once(shards: Shards, make_stream: MakeStream) -> None:
    stream = make_stream()
    windows = {source: shards.source(source).tokens // 40 for source in stream.sources}
    seen: dict[int, list[int]] = {}
    for row in range(3 * max(windows.values())):
        source, index = stream.place(row)
        seen.setdefault(source, []).append(index)
    for number, name in enumerate(stream.sources):
        first, second = seen[number][: windows[name]], seen[number][windows[name] : 2 * windows[name]]
        assert sorted(first) == list(range(windows[name]))
        assert first[: len(second)] != second


def test_a_row_has_the_tokens_at_its_position(shards: Shards, make_stream: MakeStream) -> None:
    stream = make_stream()
    for row in (0, 17, 5):
        window = stream.window(row)
        number, index = stream.place(row)
        source = shards.source(stream.sources[number])
        assert window.tokens_T.tolist() == source.read(index * 40, index * 40 + 40).tolist()
        starts = set(source.starts(0, source.documents).tolist())
        borders = index * 40 + np.cumsum(window.document_tokens)[:-1]
        assert borders.tolist() == [place for place in range(index * 40 + 1, index * 40 + 40) if place in starts]
        assert sum(window.document_tokens) == 40


def test_rows_do_not_depend_on_earlier_reads(make_stream: MakeStream) -> None:
    forward = [make_stream().window(row).tokens_T.tolist() for row in range(20)]
    backward = [make_stream().window(row).tokens_T.tolist() for row in reversed(range(20))]
    assert forward == backward[::-1]


def test_epochs_read_nested_parts_of_a_source(make_stream: MakeStream) -> None:
    """The same budget reads a half twice and a quarter four times, the quarter among the half."""
    budget = 40 * 128
    read: dict[int, set[tuple[int, int]]] = {}
    for epochs in (2, 4):
        stream = make_stream(f"mixture.epochs={epochs}", f"budget.train_tokens={budget}")
        places = [stream.place(row) for row in range(128)]
        read[epochs] = set(places)
        assert len(read[epochs]) == 128 // epochs
        assert all(places.count(place) == epochs for place in read[epochs])
        assert stream.reading(128)["code"] == (0.5, epochs)
    assert read[4] < read[2]


def test_another_seed_reads_another_part(shards: Shards, make_trial: MakeTrial) -> None:
    parts = [
        {stream.place(row) for row in range(64)}
        for seed in (0, 1)
        for stream in [Stream(shards, make_trial("mixture.epochs=4", "budget.train_tokens=10240", data_seed=seed))]
    ]
    assert parts[0] != parts[1]


def test_augmentation_of_the_first_epoch_repeats_its_draws(make_stream: MakeStream) -> None:
    settings = ("mixture.epochs=4", f"budget.train_tokens={40 * 256}")
    fresh, repeated = make_stream(*settings), make_stream(*settings, "mixture.augmentation=first_epoch")
    first: dict[tuple[int, int], int] = {}
    for row in range(256):
        place = repeated.place(row)
        assert place == fresh.place(row)
        assert fresh.window(row).drawn_as == row
        assert repeated.window(row).drawn_as == first.setdefault(place, row)
    assert len(first) == 64


def test_orders_of_epochs_are_uncorrelated() -> None:
    order = EpochOrder(rows=4000, read=4000, key="0/code")
    ranks = np.array([[order.index(epoch * 4000 + turn) for turn in range(4000)] for epoch in range(3)])
    turn = np.arange(4000)
    for one, other in ((turn, ranks[0]), (turn, ranks[1]), (ranks[0], ranks[1]), (ranks[1], ranks[2])):
        # Of independent orders the standard deviation is 1 / √n = 0.016.
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.064
    # Of what one epoch reads in its first tenth, the next has a tenth there: 40 ± 6.
    assert 15 < len(set(ranks[0][:400]) & set(ranks[1][:400])) < 65
    # Neighbours of the text are no neighbours in an epoch.
    assert np.mean(np.abs(np.diff(ranks[0])) == 1) < 0.005


def test_a_budget_beyond_the_source_is_rejected(make_stream: MakeStream) -> None:
    with pytest.raises(
        UsageError, match=r"mixture\.epochs=1: needs [\d,]+ rows of code, which has \d+\. Give at least"
    ):
        make_stream("mixture.epochs=1", "budget.train_tokens=1e7")
    with pytest.raises(UsageError, match=r"mixture\.max_epochs=2: the budget reads code \d+\.\d\d times"):
        make_stream("mixture.max_epochs=2", "budget.train_tokens=1e6")
    make_stream("+mixture.max_epochs.code=1000", "budget.train_tokens=1e6")


def test_reading_stops_at_the_epoch_cap(make_stream: MakeStream) -> None:
    stream = make_stream(
        "mixture.weights.english=0", "mixture.epochs=2", "mixture.max_epochs=2", "budget.train_tokens=4000"
    )
    rows_per_step = stream.trial.budget.rows_per_step
    assert stream.orders[0].read == 50
    for row in range(100 + rows_per_step):
        stream.place(row)
    with pytest.raises(
        FailureError, match=r"max_epochs=2: row 1\d\d would read code more often\. The trial ends by its train_tokens"
    ):
        stream.place(100 + rows_per_step)


def test_a_source_shorter_than_a_window_is_rejected(shards: Shards, make_trial: MakeTrial) -> None:
    trial = make_trial("scale.window_tokens=1000000", "scale.context_tokens=1000000", "budget.train_tokens=1e8")
    with pytest.raises(FailureError, match=r"less than one window \(scale\.window_tokens=1000000\)"):
        Stream(shards, trial)


def test_documents_begin_with_their_text_where_no_token_leads(shards: Shards, make_trial: MakeTrial) -> None:
    trial = make_trial("mixture.leading_end_of_text=false", "mixture.document_mask=false")
    bare = open_shards(trial)
    assert bare.folder != shards.folder
    source, led = bare.source("code"), shards.source("code")
    assert source.documents == led.documents
    assert source.tokens == led.tokens - led.documents
    for number in range(source.documents):
        with_border = led.read(led.start(number), led.start(number + 1))
        assert source.read(source.start(number), source.start(number + 1)).tolist() == with_border[1:].tolist()


def test_shards_hold_every_train_document_between_two_borders(shards: Shards, text: dict[str, Path]) -> None:
    end_of_text = shards.tokenizer.special.end_of_text
    source = shards.source("code")
    written = {path.read_text() for path in text["code"].iterdir()}
    decoded = []
    for number in range(source.documents):
        piece = source.read(source.start(number), source.start(number + 1))
        assert piece[0] == piece[-1] == end_of_text
        decoded.append(shards.tokenizer.decode(piece[1:-1]))
    held_out = {document.text for split in ("validation", "test") for document in shards.held_out(split, "code")}
    assert set(decoded) | held_out == written
    assert not set(decoded) & held_out
    assert len(decoded) == len(set(decoded))
