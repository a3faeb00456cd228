"""Infilling is scored on the same bytes for every arm, each in the format that it was trained in."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards
from ablate.evaluation.evaluator import Evaluator, SuiteResult
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.suite import suite_id
from ablate.evaluation.suites.infill import KINDS, Middle, _fitted, middles
from ablate.model.build import Model, build_model
from tests.support.scoring import nll_one_by_one
from tests.support.trials import MakeTrial

ARMS = {
    "causal": "objective=causal",
    "psm": "infill=psm",
    "spm": "infill=spm infill.level=token",
    "joint": "infill=joint infill.level=line",
    "sentinel": "infill=sentinel",
    "mixed": "objective=mixed",
    "mixed_prefix": "objective=mixed_prefix",
    "ul2_modes": "objective=ul2_modes",
    "prefix and psm": "objective=prefix infill=psm",
}


def middles_of(held_out: HeldOut) -> list[Middle]:
    given = held_out.trial.evaluation.suites["infill"]
    return middles(held_out, **given | {"middles_per_source": given["middles_per_source"] or 40})


def score(trial: TrialConfig, shards: Shards, model: Model) -> SuiteResult:
    [result] = Evaluator(trial, shards).score(model, [suite_id(trial, "infill")]).values()
    return result


def reordered(trial: TrialConfig) -> TrialConfig:
    sources = dict(reversed(trial.corpus.sources.items()))
    return replace(trial, corpus=replace(trial.corpus, sources=sources))


def test_middles_are_the_text_of_their_documents(make_trial: MakeTrial, shards: Shards) -> None:
    held_out = HeldOut(make_trial(), shards, "test")
    found = middles(held_out, middles_per_source=4, context_bytes=50, middle_bytes=40)
    again = middles(HeldOut(reordered(held_out.trial), shards, "test"), 4, 50, 40)
    assert [str(middle) for middle in found] == [str(middle) for middle in again]
    assert {middle.kind for middle in found} <= set(KINDS)
    assert sum(middle.kind == "random_span" for middle in found) == 8
    texts = {
        source: {document.name: document.text for document in shards.held_out("test", source)}
        for source in ("code", "english")
    }
    for middle in found:
        prefix, text, suffix = map(shards.tokenizer.decode, (middle.prefix_T, middle.middle_T, middle.suffix_T))
        assert prefix + text + suffix in texts[middle.source][middle.document]
        assert 1 <= middle.middle_bytes == len(text.encode()) <= 40
        assert max(len(prefix.encode()), len(suffix.encode())) <= 50
        if middle.kind == "single_line":
            assert text.strip()
            assert "\n" not in text[:-1]
        if middle.kind == "multi_line":
            assert "\n" in text[:-1]


def test_lines_are_drawn_among_those_that_fit_and_are_not_blank() -> None:
    text = "a line\n\n" + "x" * 100 + "\nlast"
    drawn = {KINDS["single_line"](text, np.random.default_rng(seed), 20) for seed in range(40)}
    assert {text[gap[0] : gap[1]] for gap in drawn if gap} == {"a line\n", "last"}
    assert KINDS["multi_line"](text, np.random.default_rng(0), 20) is None
    several = {KINDS["multi_line"]("a\nb\n\nc\n", np.random.default_rng(seed), 20) for seed in range(60)}
    assert {"a\nb\n\nc\n"[gap[0] : gap[1]] for gap in several if gap} == {"a\nb\n", "b\n\nc\n", "a\nb\n\nc\n"}


@pytest.mark.parametrize("name", ARMS)
def test_each_arm_is_asked_in_its_own_format(make_trial: MakeTrial, shards: Shards, name: str) -> None:
    """Against the tokens written by hand, and one forward pass per token."""
    trial = make_trial(
        *ARMS[name].split(),
        "evaluation.suites.infill.middles_per_source=2",
        "evaluation.suites.infill.context_bytes=20",
    )
    held_out, special = HeldOut(trial, shards, "test"), shards.tokenizer.special
    prefix_T, suffix_T = np.array([5, 6], np.int32), np.array([8], np.int32)
    prompt = held_out.prompts.infill(prefix_T, suffix_T, np.random.default_rng(3))
    end, mask = special.end_of_text, special.masks[0]
    psm = [end, special.prefix, 5, 6, special.suffix, 8, special.middle]
    sentinel = [end, 5, 6, mask, 8, end, special.separator, mask]
    spm = [end, special.prefix, special.suffix, 8, special.middle, 5, 6]
    expected = {
        "causal": [],
        "psm": [(psm, 0)],
        "spm": [(spm, 0)],
        "joint": [(psm, 0), (spm, 0)],
        "sentinel": [(sentinel, 0)],
        "mixed": [(sentinel, 0)],
        "mixed_prefix": [(sentinel, 7)],
        "ul2_modes": [([special.modes[0], *sentinel], 8)],
        "prefix and psm": [(psm, 7)],
    }[name]
    if prompt is None:
        assert expected == []
    else:
        assert (prompt.tokens_T.tolist(), prompt.bidirectional_tokens) in expected
    model = build_model(trial, 340).eval()
    result = score(trial, shards, model)
    documents, metrics = result.documents, result.metrics
    assert ("infill_bpb_both" in metrics) == (name != "causal")
    assert metrics["infill_bpb_left"] == pytest.approx(
        metrics["infill_bpb_left/code"] / 2 + metrics["infill_bpb_left/english"] / 2
    )
    if prompt is not None and name != "joint":
        chosen = middles_of(held_out)
        first = next(middle for middle in chosen if middle.kind == "random_span")
        of_document = [middle for middle in chosen if middle.document == first.document]
        with torch.no_grad():
            nll = 0.0
            for middle in of_document:
                prompt = held_out.prompts.infill(middle.prefix_T, middle.suffix_T, np.random.default_rng(0))
                assert prompt is not None
                nll += sum(nll_one_by_one(model, prompt, middle.middle_T))
        row = documents[(documents["metric"] == "infill_bpb_both") & (documents["document"] == first.document)]
        assert row["amount"].item() == pytest.approx(nll / math.log(2), rel=1e-4)
        assert row["units"].item() == sum(middle.middle_bytes for middle in of_document)


def test_sides_that_do_not_fit_lose_what_is_farthest(make_trial: MakeTrial, shards: Shards) -> None:
    middle = middles_of(HeldOut(make_trial(), shards, "test"))[0]
    room = len(middle.middle_T) + 8 + 20
    fitted = _fitted(middle, room)
    assert len(fitted.prefix_T) + len(fitted.suffix_T) <= 20
    assert fitted.prefix_T.tolist() == middle.prefix_T.tolist()[-len(fitted.prefix_T) :]
    assert fitted.suffix_T.tolist() == middle.suffix_T.tolist()[: len(fitted.suffix_T)]
    assert _fitted(middle, 10_000) is middle


def test_a_model_that_knows_the_middle_meets_it(make_trial: MakeTrial, shards: Shards) -> None:
    """Trained on the very prompts, exact match becomes 1: the measure can be reached, end token included."""
    trial = make_trial(
        "infill=psm", "evaluation.suites.infill.middles_per_source=1", "evaluation.suites.infill.context_bytes=12"
    )
    held_out = HeldOut(trial, shards, "test")
    model = build_model(trial, 340)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    end = shards.tokenizer.special.end_of_mask
    rows = []
    for middle in middles_of(held_out):
        prompt = held_out.prompts.infill(middle.prefix_T, middle.suffix_T, np.random.default_rng(0))
        assert prompt is not None
        rows.append((prompt.tokens_T.tolist(), [*middle.middle_T.tolist(), end]))
    assert score(trial, shards, model.eval()).metrics["infill_exact_random_span"] == 0
    for _ in range(60):
        loss = torch.zeros(())
        for asked, wanted in rows:
            ids = torch.tensor([[*asked, *wanted]])
            hidden = model(
                ids[:, :-1], torch.ones_like(ids[:, :-1]), torch.arange(ids.shape[1] - 1)[None], 0 * ids[:, :-1]
            )
            logits = model.head(hidden[0, len(asked) - 1 :])
            loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor(wanted))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    metrics = score(trial, shards, model.eval()).metrics
    assert metrics["infill_exact_random_span"] == 1
    assert metrics["infill_bpb_both"] < 0.3
