"""Scoring against one token at a time, and against what bits and bytes mean."""

import math

import numpy as np
import pytest
import torch

from ablate.data.shards import Shards
from ablate.evaluation.bits_per_byte import _views, score, summary, unigram_bits
from ablate.evaluation.evaluator import Evaluator
from ablate.evaluation.passages import Passage, passages
from ablate.model.decoder import Decoder
from tests.conftest import MakeTrial

CONTEXT = 48


def nll_one_by_one(model: Decoder, passage: Passage, end_of_text: int, region: bool) -> list[float]:
    """The nll of each token, from a pass of its own over what the token may see."""
    tokens = np.concatenate([passage.first_T, passage.second_T])
    read = [end_of_text, *tokens.tolist()]
    found = []
    for index, token in enumerate(tokens.tolist()):
        seen = torch.tensor([read[: index + 1]])
        in_region = 1 + len(passage.first_T) if region else 0
        regions = (torch.arange(index + 1)[None] < in_region).long()
        hidden = model(seen, torch.ones_like(seen), torch.arange(index + 1)[None], regions)
        found.append(-float(model.head(hidden[0, -1]).log_softmax(-1)[token]))
    return found


@pytest.mark.parametrize("region", [True, False])
def test_scores_are_those_of_one_token_at_a_time(make_trial: MakeTrial, shards: Shards, region: bool) -> None:
    trial = make_trial("objective=prefix")
    model = Decoder.from_config(trial, 340).eval()
    evaluator = Evaluator(trial, shards)
    some = [passage for passage in evaluator.test if len(passage.first_T) + len(passage.second_T) <= CONTEXT][:3]
    assert some
    end_of_text = shards.tokenizer.special.end_of_text
    table = score(model, some, end_of_text=end_of_text, reads_regions=region, context_tokens=CONTEXT, rows_per_batch=2)
    with torch.no_grad():
        for passage in some:
            full = nll_one_by_one(model, passage, end_of_text, region=False)
            own = nll_one_by_one(model, passage, end_of_text, region=region)[len(passage.first_T) :]
            bits = table[table["document"] == passage.document].set_index("metric")["bits"]
            assert bits["bpb_full"] == pytest.approx(sum(full) / math.log(2), rel=1e-4)
            assert bits["bpb_continuation"] == pytest.approx(sum(own) / math.log(2), rel=1e-4)


@pytest.mark.parametrize(("tokens", "context_tokens"), [(5, 8), (8, 8), (9, 8), (40, 8), (41, 7), (3, 2)])
def test_views_score_each_token_once_and_after_half_a_context(tokens: int, context_tokens: int) -> None:
    views = list(_views(0, tokens, context_tokens))
    assert [token for view in views for token in range(view.scored_from, view.end)] == list(range(tokens))
    for view in views:
        assert view.end - view.start <= context_tokens
        assert view.start == 0 or view.scored_from - view.start == context_tokens // 2


def test_a_passage_longer_than_the_context_is_scored_on_all_its_bytes(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    model = Decoder.from_config(trial, 340).eval()
    one = [passage for passage in Evaluator(trial, shards).test if len(passage.first_T) > 8][:1]
    length = len(one[0].first_T) + len(one[0].second_T)
    end_of_text = shards.tokenizer.special.end_of_text

    def bits(context_tokens: int) -> float:
        table = score(
            model,
            one,
            end_of_text=end_of_text,
            reads_regions=False,
            context_tokens=context_tokens,
            rows_per_batch=4,
        )
        return float(table.set_index("metric")["bits"]["bpb_full"])

    assert bits(length) == bits(10 * length)
    # Untrained, every token costs about log2(V): a token left out or scored twice would show.
    assert bits(max(4, length // 3)) == pytest.approx(bits(length), rel=0.02)


def test_passages_are_bytes_not_tokens(make_trial: MakeTrial, shards: Shards) -> None:
    config = make_trial().evaluation
    texts = dict(shards.held_out("test", "code"))
    for passage in passages(shards, config, "test", ["code"], 4):
        text = texts[passage.document].encode()
        total = passage.first_bytes + passage.second_bytes
        assert config.passage_bytes - 3 <= total <= config.passage_bytes
        both = shards.tokenizer.decode(passage.first_T) + shards.tokenizer.decode(passage.second_T)
        assert both.encode() == text[:total]
        assert abs(passage.first_bytes - passage.second_bytes) <= 4


def test_summary_weighs_bytes_inside_a_source_and_sources_alike(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    evaluator = Evaluator(trial, shards)
    documents, found = evaluator.test_documents(Decoder.from_config(trial, 340).eval())
    full = documents[documents["metric"] == "bpb_full"]
    code = full[full["source"] == "code"]
    assert found["bpb_full/code"] == pytest.approx(code["bits"].sum() / code["bytes"].sum())
    assert found["bpb_full"] == pytest.approx((found["bpb_full/code"] + found["bpb_full/english"]) / 2)
    assert len(code) == 4
    assert summary(documents)["bpb_full"] == found["bpb_full"]


def test_unigram_of_equal_probabilities_costs_log2_of_the_vocabulary(make_trial: MakeTrial, shards: Shards) -> None:
    some = [passage for passage in Evaluator(make_trial(), shards).test if passage.source == "code"]
    tokens = sum(len(passage.first_T) + len(passage.second_T) for passage in some)
    total_bytes = sum(passage.first_bytes + passage.second_bytes for passage in some)
    assert unigram_bits(some, np.full(340, 1 / 340)) == pytest.approx(math.log2(340) * tokens / total_bytes)
