"""What a model writes after prompts, for each kind of architecture and objective."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from ablate.data.tokens.shards import Shards, open_shards
from ablate.errors import UsageError
from ablate.evaluation.generate import Problem, Sample, generate, prompt_batch
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.sampling import LIKELY_TOKENS, Sampling, choose
from ablate.model.build import Model, build_model
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt, Prompts
from ablate.verbs.generate import Request, _tokens
from tests.support.trials import MakeTrial

WRITES = 9
RANDOM = Sampling(temperature=1.0, top_p=0.9, seed=1)
ARMS = {
    "causal": ["objective=causal"],
    "prefix": ["objective=prefix"],
    "infill": ["objective=causal", "infill=psm", "infill.rate=0.5"],
    "sentinels": ["objective=mixed", "infill=sentinel", "infill.rate=0.5"],
    "span corruption": ["objective=span_corruption"],
    "grouped queries": ["objective=mixed_prefix", "block=llama", "block.key_value_heads=1"],
    "muP": ["objective=causal", "scale.mup_base_width=16"],
    "encoder and decoder": ["objective=prefix", "architecture=encoder_decoder"],
    "encoder and decoder that infill": ["objective=mixed_prefix", "architecture=encoder_decoder", "block=llama"],
}


def write(
    model: Model,
    shards: Shards,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    rows: int = 8,
    end_tokens: Collection[int] = (),
) -> list[Sample]:
    return list(generate(model, shards.tokenizer, problems, sampling, rows=rows, end_tokens=end_tokens))


def written(samples: Sequence[Sample]) -> dict[tuple[str, int], list[int]]:
    """The tokens of samples, by problem and number."""
    return {(sample.problem_id, sample.sample_index): sample.tokens_T.tolist() for sample in samples}


def prompts_of(prompts: Prompts, texts_T: Sequence[Tokens]) -> list[Prompt]:
    """Prompts of different lengths, an infilling one among them where the arm can infill."""
    before_T, after_T = texts_T
    infill = prompts.infill(before_T, after_T, np.random.default_rng(0))
    short = prompts.continuation(before_T[:1])
    return [prompts.start(), prompts.continuation(before_T), short, *([infill] if infill else [])]


@pytest.fixture(scope="module", params=ARMS)
def arm(request: pytest.FixtureRequest, make_trial: MakeTrial) -> tuple[Model, Shards, list[Prompt]]:
    """A model of the arm with weights that tell tokens apart, its data, and prompts."""
    trial = make_trial(*ARMS[request.param], "scale.init_std=0.3")
    shards = open_shards(trial)
    held_out = HeldOut(trial, shards, "test")
    prompts = prompts_of(held_out.prompts, held_out.tokenizer.encode(["def one(x):", " return 1"]))
    assert len(prompts) == (3 if request.param in ("causal", "prefix", "muP", "encoder and decoder") else 4)
    return build_model(trial, trial.tokenizer.vocab_size).eval(), shards, prompts


@pytest.fixture(scope="module")
def causal(make_trial: MakeTrial) -> tuple[Model, Shards, Prompt]:
    trial = make_trial("objective=causal")
    shards = open_shards(trial)
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    return model, shards, HeldOut(trial, shards, "test").prompts.continuation(shards.tokenizer.encode(["def a"])[0])


def reread(model: Model, prompt: Prompt, written_T: Tokens) -> torch.Tensor:
    """The logits of the next token, by a model that reads everything again."""
    whole = Prompt(np.append(prompt.tokens_T, written_T), prompt.bidirectional_tokens)
    batch = prompt_batch(whole)
    arrays = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
    with torch.no_grad():
        logits_V: torch.Tensor = model.head(model(*map(torch.from_numpy, arrays))[0, -1]).float()
    return logits_V


def test_a_cached_model_s_logits_are_those_of_one_that_reads_everything_again(
    arm: tuple[Model, Shards, list[Prompt]],
) -> None:
    model, _, prompts = arm
    caches = model.caches(len(prompts), 48)
    first = [model.read_prompt(prompt_batch(prompt), caches, row) for row, prompt in enumerate(prompts)]
    texts: list[Tokens] = [np.empty(0, np.int32) for _ in prompts]
    logits_BV = torch.stack(first)
    for _ in range(WRITES):
        for prompt, text_T, logits_V in zip(prompts, texts, logits_BV, strict=True):
            assert torch.allclose(logits_V, reread(model, prompt, text_T), atol=1e-5 * float(logits_V.abs().max()))
        token_B = logits_BV.argmax(-1)
        texts = [np.append(text_T, np.int32(token)) for text_T, token in zip(texts, token_B.tolist(), strict=True)]
        logits_BV = model.read_tokens(token_B, caches)


def test_greedy_text_is_the_model_s_first_choice_everywhere(arm: tuple[Model, Shards, list[Prompt]]) -> None:
    model, shards, prompts = arm
    problems = [Problem(str(number), prompt, [0, 1, 2], WRITES) for number, prompt in enumerate(prompts)]
    samples = write(model, shards, problems, Sampling())
    assert len(samples) == 3 * len(prompts)
    for sample in samples:
        prompt = prompts[int(sample.problem_id)]
        wanted_T = np.empty(0, np.int32)
        for _ in range(WRITES):
            wanted_T = np.append(wanted_T, np.int32(reread(model, prompt, wanted_T).argmax()))
        assert sample.tokens_T.tolist() == wanted_T.tolist()
        assert (sample.finished_by, sample.end) == ("max_tokens", "")


def test_a_text_is_that_of_its_problem_and_number(arm: tuple[Model, Shards, list[Prompt]]) -> None:
    model, shards, prompts = arm
    problems = [Problem(str(number), prompt, range(5), WRITES - number) for number, prompt in enumerate(prompts)]
    whole = written(write(model, shards, problems, RANDOM))
    assert len(whole) == 5 * len(prompts)
    assert len({tuple(text) for text in whole.values()}) > 5
    for rows in (1, 40):
        assert written(write(model, shards, problems, RANDOM, rows=rows)) == whole
    # A resumed run has some of them already.
    rest = [replace(problem, samples=[4, 2]) for problem in problems[1:]]
    assert written(write(model, shards, rest, RANDOM, rows=2)).items() <= whole.items()
    assert written(write(model, shards, problems, replace(RANDOM, seed=2))) != whole


@pytest.mark.parametrize("block", ["gptj", "llama"])
def test_the_other_rows_change_no_bit_of_a_row(make_trial: MakeTrial, block: str) -> None:
    trial = make_trial("scale.d_model=384", "scale.n_heads=8", "scale.n_layers=1", f"block={block}")
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    rng = np.random.default_rng(0)
    prompts = [Prompt(rng.integers(0, 300, length).astype(np.int32), 0) for length in rng.integers(2, 30, 48)]

    def logits_of(numbers: list[int]) -> torch.Tensor:
        caches = model.caches(len(numbers), 48)
        for row, number in enumerate(numbers):
            model.read_prompt(prompt_batch(prompts[number]), caches, row)
        return torch.stack([model.read_tokens(torch.tensor(numbers) + step, caches) for step in range(3)])

    whole = logits_of(list(range(48)))
    for numbers in ([*range(16)], [47, 3, 7, 12, 0, 1, 2, 30, *range(32, 40)], [*range(16, 48)]):
        assert torch.equal(logits_of(numbers), whole[:, numbers])


def test_end_tokens_end_a_text_and_others_take_its_place(arm: tuple[Model, Shards, list[Prompt]]) -> None:
    model, shards, prompts = arm
    problems = [Problem(str(number), prompt, range(6), WRITES) for number, prompt in enumerate(prompts)]
    whole = written(write(model, shards, problems, RANDOM))
    tokens = sorted(token for text in whole.values() for token in text)
    ends = set(tokens[:: len(tokens) // 6])
    samples = write(model, shards, problems, RANDOM, end_tokens=ends, rows=4)
    assert len(samples) == len(whole)
    for sample in samples:
        text = whole[sample.problem_id, sample.sample_index]
        places = [place for place, token in enumerate(text) if token in ends]
        assert sample.tokens_T.tolist() == (text[: places[0]] if places else text)
        assert sample.finished_by == ("end_token" if places else "max_tokens")
    assert {sample.finished_by for sample in samples} == {"end_token", "max_tokens"}


def test_samples_of_a_prompt_share_one_reading_of_it(
    causal: tuple[Model, Shards, Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shards, prompt = causal
    read = []
    reading = model.read_prompt
    monkeypatch.setattr(model, "read_prompt", lambda *given: read.append(given[2]) or reading(*given))  # type: ignore[func-returns-value]
    problems = [Problem(name, prompt, range(7), 1 + number) for number, name in enumerate("abc")]
    assert len(write(model, shards, problems, RANDOM, rows=2)) == 21
    assert len(read) == 3


def test_a_sample_is_yielded_when_it_ends(causal: tuple[Model, Shards, Prompt]) -> None:
    model, shards, prompt = causal
    problems = [Problem("long", prompt, [0], 30), Problem("short", prompt, range(3), 2)]
    order = [(sample.problem_id, sample.sample_index) for sample in write(model, shards, problems, RANDOM, rows=2)]
    assert order == [("short", 0), ("short", 1), ("short", 2), ("long", 0)]


def test_a_stop_string_ends_a_text_before_it(causal: tuple[Model, Shards, Prompt]) -> None:
    model, shards, prompt = causal
    [whole] = write(model, shards, [Problem("a", prompt, [0], 40)], RANDOM)
    assert len(whole.text) > 30
    # Across the borders of tokens, and not at the first place where its first letter stands.
    stop = whole.text[17:21]
    first = whole.text.find(stop)
    problem = Problem("a", prompt, [0], 40, stop_strings=("not in it", stop, whole.text[18:30]))
    [stopped] = write(model, shards, [problem], RANDOM)
    assert (stopped.text, stopped.finished_by, stopped.end) == (whole.text[:first], "stop_string", stop)
    assert stopped.tokens_T.tolist() == whole.tokens_T[: len(stopped.tokens_T)].tolist()
    assert stop in shards.tokenizer.decode(stopped.tokens_T)
    assert stop not in shards.tokenizer.decode(stopped.tokens_T[:-1])


def test_top_p_keeps_the_fewest_likely_tokens() -> None:
    logits_V = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    uniform_B = torch.linspace(0, 1, 301, dtype=torch.float64)[:-1]

    def drawn(top_p: float, temperature: float = 1.0) -> dict[int, float]:
        token_B = choose(logits_V.expand(300, -1), uniform_B, Sampling(temperature, top_p))
        return {token: float((token_B == token).float().mean()) for token in set(token_B.tolist())}

    assert drawn(1.0) == pytest.approx({0: 0.15, 1: 0.5, 2: 0.05, 3: 0.3}, abs=0.01)
    assert drawn(0.9) == pytest.approx({1: 0.5 / 0.95, 3: 0.3 / 0.95, 0: 0.15 / 0.95}, abs=0.01)
    assert drawn(0.79) == pytest.approx({1: 0.5 / 0.8, 3: 0.3 / 0.8}, abs=0.01)
    assert drawn(0.1) == {1: 1.0}, "the likeliest token always stays"
    assert drawn(1.0, temperature=0.01) == {1: 1.0}


def test_a_wide_nucleus_is_drawn_like_a_narrow_one() -> None:
    rng = torch.Generator().manual_seed(0)
    logits_BV = torch.randn(64, 4 * LIKELY_TOKENS, generator=rng)
    logits_BV[::2] *= 8
    probability_BV = logits_BV.softmax(-1)
    is_short_B = probability_BV.topk(LIKELY_TOKENS).values.sum(-1) < 0.95
    assert 0 < int(is_short_B.sum()) < 64
    uniform_B = torch.rand(64, generator=rng, dtype=torch.float64)
    token_B = choose(logits_BV, uniform_B, Sampling(1.0, 0.95))
    for probability_V, uniform, token in zip(
        probability_BV.double(), uniform_B.tolist(), token_B.tolist(), strict=True
    ):
        ordered, order = probability_V.sort(descending=True)
        kept = int((ordered.cumsum(0) - ordered < 0.95).sum())
        place = int((ordered[:kept].cumsum(0) <= uniform * ordered[:kept].sum()).sum())
        assert token == int(order[place])


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
