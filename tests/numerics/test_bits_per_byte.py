"""Scoring against one token at a time, and against what bits and bytes mean."""

import math

import numpy as np
import pytest
import torch

from ablate.data.tokens.shards import Shards
from ablate.evaluation.evaluator import Evaluator
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.passages import Passage, passages
from ablate.evaluation.reading import Reading, views
from ablate.evaluation.scoring import ModelReader
from ablate.evaluation.suite import suite_ids
from ablate.evaluation.suites.bits_per_byte import passage_rows, unigram_rows
from ablate.evaluation.table import summary, table
from ablate.model.build import build_model
from ablate.objectives.prompt import Prompt
from tests.support.scoring import nll_one_by_one
from tests.support.trials import MakeTrial

CONTEXT = 48


def passages_of(held_out: HeldOut) -> list[Passage]:
    return passages(held_out, **held_out.trial.evaluation.suites["bits_per_byte"])


@pytest.mark.parametrize("objective", ["causal", "prefix", "mixed_prefix", "span_corruption", "ul2_modes"])
def test_scores_are_those_of_one_token_at_a_time(make_trial: MakeTrial, shards: Shards, objective: str) -> None:
    trial = make_trial(f"objective={objective}", "tokenizer.mask_sentinels=16")
    model = build_model(trial, 340).eval()
    held_out = HeldOut(trial, shards, "test")
    prompts = held_out.prompts
    some = [passage for passage in passages_of(held_out) if len(passage.first_T) + len(passage.second_T) <= 40][:3]
    assert some
    scores = table(passage_rows(ModelReader(model, CONTEXT, rows_per_batch=2), some, prompts))
    with torch.no_grad():
        for passage in some:
            both_T = np.concatenate([passage.first_T, passage.second_T])
            full = nll_one_by_one(model, prompts.start(), both_T)
            own = nll_one_by_one(model, prompts.continuation(passage.first_T), passage.second_T)
            bits = scores[scores["document"] == passage.document].set_index("metric")["amount"]
            assert bits["bpb_full"] == pytest.approx(sum(full) / math.log(2), rel=1e-4)
            assert bits["bpb_continuation"] == pytest.approx(sum(own) / math.log(2), rel=1e-4)


def test_each_objective_reads_the_first_half_in_its_own_way(make_trial: MakeTrial, shards: Shards) -> None:
    special = shards.tokenizer.special
    text_T = np.array([5, 6, 7], np.int32)
    expected = {
        "causal": ([special.end_of_text, 5, 6, 7], 0),
        "prefix": ([special.end_of_text, 5, 6, 7], 4),
        "mixed": ([special.end_of_text, 5, 6, 7], 0),
        # Its spans are corrupted text; it read text in order from left to right alone.
        "mixed_prefix": ([special.end_of_text, 5, 6, 7], 0),
        "ul2_modes": ([special.modes[1], special.end_of_text, 5, 6, 7], 5),
        # A model that never saw text in its order is asked for a middle with nothing after it.
        "span_corruption": (
            [special.end_of_text, 5, 6, 7, special.masks[0], special.end_of_text, special.separator, special.masks[0]],
            7,
        ),
    }
    for objective, (tokens, bidirectional_tokens) in expected.items():
        prompt = HeldOut(make_trial(f"objective={objective}"), shards, "test").prompts.continuation(text_T)
        assert (prompt.tokens_T.tolist(), prompt.bidirectional_tokens) == (tokens, bidirectional_tokens), objective
    causal = HeldOut(make_trial("objective=prefix", "architecture=causal_decoder"), shards, "test").prompts
    assert causal.continuation(text_T).bidirectional_tokens == 0


@pytest.mark.parametrize("scored_from", [1, 3])
@pytest.mark.parametrize(("tokens", "context_tokens"), [(6, 8), (9, 8), (10, 8), (41, 8), (42, 7), (4, 2)])
def test_views_score_each_token_once_and_after_half_a_context(
    tokens: int, context_tokens: int, scored_from: int
) -> None:
    found = list(views(0, tokens, scored_from, context_tokens))
    assert [token for view in found for token in range(view.scored_from, view.end)] == list(range(scored_from, tokens))
    for view in found:
        assert view.end - view.start <= context_tokens + 1
        assert view.scored_from - view.start >= min(view.scored_from, context_tokens // 2)


def test_a_prompt_longer_than_the_context_loses_its_start() -> None:
    [first, *_] = views(0, tokens=30, scored_from=20, context_tokens=8)
    assert (first.start, first.end) == (12, 21)


def test_a_passage_longer_than_the_context_is_scored_on_all_its_bytes(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    model, held_out = build_model(trial, 340).eval(), HeldOut(trial, shards, "test")
    passage = next(passage for passage in passages_of(held_out) if len(passage.first_T) > 8)
    length = 1 + len(passage.first_T) + len(passage.second_T)

    def bits(context_tokens: int) -> float:
        scores = table(passage_rows(ModelReader(model, context_tokens, rows_per_batch=4), [passage], held_out.prompts))
        return float(scores.set_index("metric")["amount"]["bpb_full"])

    assert bits(length) == bits(10 * length)
    # Untrained, every token costs about log2(V): a token left out or scored twice would show.
    assert bits(max(4, length // 3)) == pytest.approx(bits(length), rel=0.02)


def test_first_choices_are_the_model_s(make_trial: MakeTrial) -> None:
    model = build_model(make_trial(), 340).eval()
    prompt = Prompt(np.array([339, 5, 6], np.int32), 0)
    chosen: list[int] = []
    with torch.no_grad():
        for _ in range(4):
            seen = torch.tensor([[*prompt.tokens_T.tolist(), *chosen]])
            hidden = model(seen, torch.ones_like(seen), torch.arange(seen.shape[1])[None], torch.zeros_like(seen))
            chosen.append(int(model.head(hidden[0, -1]).argmax()))
    readings = [Reading(prompt, np.array(chosen, np.int32)), Reading(prompt, np.array([*chosen[:-1], 7], np.int32))]
    first, second = ModelReader(model, CONTEXT, rows_per_batch=8).score(readings)
    assert first.is_first_choice_S.all()
    assert second.is_first_choice_S.tolist() == [True, True, True, False]


def test_passages_are_bytes_not_tokens(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    passage_bytes = trial.evaluation.suites["bits_per_byte"]["passage_bytes"]
    texts = {
        source: {document.name: document.text for document in shards.held_out("test", source)}
        for source in ("code", "english")
    }
    for passage in passages_of(HeldOut(trial, shards, "test")):
        text = texts[passage.source][passage.document].encode()
        total = passage.first_bytes + passage.second_bytes
        assert passage_bytes - 3 <= total <= passage_bytes + 3
        both = shards.tokenizer.decode(passage.first_T) + shards.tokenizer.decode(passage.second_T)
        assert both.encode() in text
        assert abs(passage.first_bytes - passage.second_bytes) <= 4


def test_summary_weighs_bytes_inside_a_source_and_sources_alike(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    evaluator, model = Evaluator(trial, shards), build_model(trial, 340).eval()
    [result] = evaluator.score(model, [suite_ids(trial)["bits_per_byte"]]).values()
    documents, metrics = result.documents, result.metrics
    full = documents[documents["metric"] == "bpb_full"]
    code = full[full["source"] == "code"]
    assert metrics["bpb_full/code"] == pytest.approx(code["amount"].sum() / code["units"].sum())
    assert metrics["bpb_full"] == pytest.approx((metrics["bpb_full/code"] + metrics["bpb_full/english"]) / 2)
    assert len(code) == 4
    assert summary(documents)["bpb_full"] == metrics["bpb_full"]


def test_unigram_of_equal_probabilities_costs_log2_of_the_vocabulary(make_trial: MakeTrial, shards: Shards) -> None:
    some = [passage for passage in passages_of(HeldOut(make_trial(), shards, "test")) if passage.source == "code"]
    tokens = sum(len(passage.first_T) + len(passage.second_T) for passage in some)
    total_bytes = sum(passage.first_bytes + passage.second_bytes for passage in some)
    scores = table(unigram_rows(some, np.full(340, 1 / 340)))
    assert summary(scores)["bpb_full_unigram"] == pytest.approx(math.log2(340) * tokens / total_bytes)
