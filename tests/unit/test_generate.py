"""What a model writes after a prompt, for each kind of architecture and objective."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ablate.data.tokens.shards import open_shards
from ablate.errors import UsageError
from ablate.evaluation.generate import Sampling, choose, generate
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.reading import Reading
from ablate.evaluation.scoring import ModelReader
from ablate.model.build import build_model
from ablate.objectives.prompt import Prompt
from ablate.verbs.generate import Request, _tokens
from tests.support.trials import MakeTrial

WRITES = 9
ARMS = {
    "causal": ["objective=causal"],
    "prefix": ["objective=prefix"],
    "infill": ["objective=causal", "infill=psm", "infill.rate=0.5"],
    "span corruption": ["objective=span_corruption"],
    "encoder and decoder": ["objective=prefix", "architecture=encoder_decoder"],
}


def prompts_of(held_out: HeldOut) -> list[Prompt]:
    before_T, after_T = held_out.tokenizer.encode(["def one", " return 1"])
    infill = held_out.prompts.infill(before_T, after_T, np.random.default_rng(0))
    return [held_out.prompts.start(), held_out.prompts.continuation(before_T), *([infill] if infill else [])]


@pytest.mark.parametrize("arm", ARMS)
def test_greedy_text_is_the_model_s_first_choice_everywhere(make_trial: MakeTrial, arm: str) -> None:
    trial = make_trial(*ARMS[arm])
    held_out = HeldOut(trial, open_shards(trial), "test")
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    prompts = prompts_of(held_out)
    assert len(prompts) == (3 if arm in ("infill", "span corruption") else 2)
    for prompt in prompts:
        written = generate(model, prompt, Sampling(WRITES), ends=())
        assert written.ended_by is None
        assert len(written.tokens_T) == WRITES
        [scores] = ModelReader(model, trial.scale.context_tokens, 1).score([Reading(prompt, written.tokens_T)])
        assert scores.is_first_choice_S.all()


def test_it_ends_at_an_end_token(make_trial: MakeTrial) -> None:
    trial = make_trial("objective=causal")
    prompt = HeldOut(trial, open_shards(trial), "test").prompts.start()
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    whole = generate(model, prompt, Sampling(WRITES), ends=()).tokens_T
    end = int(whole[3])
    first = whole.tolist().index(end)
    ended = generate(model, prompt, Sampling(WRITES), ends=[end])
    assert ended.ended_by == end
    assert ended.tokens_T.tolist() == whole[:first].tolist()


def test_samples_are_those_of_their_seed(make_trial: MakeTrial) -> None:
    trial = make_trial("objective=causal")
    prompt = HeldOut(trial, open_shards(trial), "test").prompts.start()
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    sampling = Sampling(WRITES, temperature=1.0, seed=1)
    first, again, other = (
        generate(model, prompt, chosen, ends=()).tokens_T.tolist()
        for chosen in (sampling, sampling, replace(sampling, seed=2))
    )
    assert first == again
    assert first != other


def test_top_p_keeps_the_fewest_likely_tokens() -> None:
    logits_V = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    rng = torch.Generator().manual_seed(0)

    def drawn(top_p: float, temperature: float = 1.0) -> set[int]:
        return {choose(logits_V, Sampling(1, temperature, top_p), rng) for _ in range(300)}

    assert drawn(1.0) == {0, 1, 2, 3}
    assert drawn(0.9) == {0, 1, 3}
    assert drawn(0.8) == {1, 3}
    assert drawn(0.1) == {1}, "the likeliest token always stays"
    assert drawn(1.0, temperature=0.01) == {1}


def test_a_text_beyond_the_context_is_an_error_with_the_numbers() -> None:
    request = Request("text", None, None, 0.0, 1.0, 0)
    assert _tokens(request, 40, 48) == 9, "the last token is written and not read"
    assert _tokens(request, 48, 48) == 1
    assert _tokens(request, 10, 2048) == 128
    assert _tokens(replace(request, max_tokens=9), 40, 48) == 9
    with pytest.raises(UsageError, match=r"--max-tokens 10: the prompt has 40 tokens .* Type at most --max-tokens 9\."):
        _tokens(replace(request, max_tokens=10), 40, 48)
    with pytest.raises(UsageError, match=r"--prompt: .* has 50 tokens .* reads 48\. Shorten the text by 2 tokens\."):
        _tokens(request, 50, 48)
