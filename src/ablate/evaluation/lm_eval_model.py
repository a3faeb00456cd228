"""A trial's model as lm-evaluation-harness asks for one. Imports the package.

Shapes: `T` tokens, `S` scored tokens.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM

from ablate.evaluation.generate import Problem, generate
from ablate.evaluation.prompting import Prompting
from ablate.evaluation.reading import STRUCTURE_TOKENS, Reading
from ablate.evaluation.samples import SampleFile, StoredSample
from ablate.evaluation.sampling import Sampling
from ablate.evaluation.scoring import ModelReader
from ablate.evaluation.suite_run import Progress
from ablate.identity import digest12

# (context, continuation), their tokens.
Pair = tuple[tuple[str, str], list[int], list[int]]
MAX_NEW_TOKENS = 256


class HarnessModel(TemplateLM):  # type: ignore[misc]  # The package has no types.
    """Scores and writes text by our reader and sampler, in each arm's own way of reading a prompt."""

    def __init__(self, reader: ModelReader, prompting: Prompting) -> None:
        super().__init__()
        self.reader, self.prompting = reader, prompting
        self.our_tokenizer = prompting.held_out.tokenizer

    @property
    def eot_token_id(self) -> int:
        """The id of `<|endoftext|>`."""
        return int(self.our_tokenizer.special.end_of_text)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the ids of a text, without special tokens."""
        return [int(token) for token in self.our_tokenizer.encode([string])[0]]

    def _loglikelihood_tokens(self, requests: Sequence[Pair], **_: Any) -> list[tuple[float, bool]]:
        """Return the log likelihood of each continuation, and whether greedy decoding would write it."""
        context, readings, cut = self.reader.context_tokens, [], 0
        for (text, _continuation), context_T, continuation_S in requests:
            # Without a context the package gives the end token, with which our prompts begin.
            prompt_T = np.array(context_T if text else [], np.int32)
            room = max(context // 2, context - len(continuation_S)) - STRUCTURE_TOKENS
            cut += len(prompt_T) > room
            prompt = self.prompting.continuation(prompt_T, room)
            readings.append(Reading(prompt, np.array(continuation_S, np.int32)))
        if cut:
            self.reader.run.conditions["cut_prompts"] = f"{cut:,} of {len(readings):,}"
        scores = self.reader.score(readings)
        return [(-float(score.nll_S.sum()), bool(score.is_first_choice_S.all())) for score in scores]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log likelihood of each whole text, read in views that overlap by half a context."""
        start = self.prompting.held_out.prompts.start()
        texts = self.our_tokenizer.encode([request.args[0] for request in requests])
        return [-float(score.nll_S.sum()) for score in self.reader.score([Reading(start, text_S) for text_S in texts])]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return what the model writes after each context, up to the first of the request's stop strings.

        A text is stored when it ends, by context, arguments and number, so that a killed run writes none twice.
        """
        keys, count = [], Counter[str]()
        for request in requests:
            name = digest12(list(request.args))
            keys.append((name, count[name]))
            count[name] += 1
        file = SampleFile(self.reader.run.path(".samples.jsonl"))
        texts = {(sample.problem, sample.sample): sample.text for sample in self.reader.ranks.on_first(file.read)}
        progress = Progress(self.reader.run, "lm_eval: samples", len(keys), sum(key in texts for key in keys))
        of_arguments: dict[str, list[tuple[str, int, str, Mapping[str, Any]]]] = {}
        for (name, number), request in zip(keys, requests, strict=True):
            if (name, number) not in texts:
                text, arguments = request.args
                of_arguments.setdefault(digest12(arguments), []).append((name, number, text, arguments))
        for waiting in of_arguments.values():
            for kept in self._written(waiting):
                if self.reader.ranks.is_first:
                    file.append([kept])
                texts[kept.problem, kept.sample] = kept.text
                progress.advance()
        return [texts[key] for key in keys]

    def _written(self, waiting: Sequence[tuple[str, int, str, Mapping[str, Any]]]) -> Iterator[StoredSample]:
        """Yield the samples of requests (name, number, context, arguments) that share their arguments."""
        arguments = waiting[0][3]
        until = arguments.get("until") or []
        stops = (until,) if isinstance(until, str) else tuple(until)
        new_tokens = min(int(arguments.get("max_gen_toks", MAX_NEW_TOKENS)), self.reader.context_tokens // 2)
        room = self.reader.context_tokens - new_tokens - STRUCTURE_TOKENS
        is_sampled = bool(arguments.get("do_sample"))
        sampling = Sampling(
            float(arguments.get("temperature", 1.0)) if is_sampled else 0.0,
            float(arguments.get("top_p", 1.0)),
        )
        numbers: dict[str, list[int]] = {}
        for name, number, _, _ in waiting:
            numbers.setdefault(name, []).append(number)
        texts = {name: text for name, _, text, _ in waiting}
        tokens = self.our_tokenizer.encode(list(texts.values()))
        problems = [
            Problem(name, self.prompting.continuation(tokens_T, room), numbers[name], new_tokens, stops)
            for name, tokens_T in zip(texts, tokens, strict=True)
        ]
        problems.sort(key=lambda problem: len(problem.prompt.tokens_T))
        special = self.our_tokenizer.special
        for sample in generate(
            self.reader.model,
            self.our_tokenizer,
            problems,
            sampling,
            rows=self.reader.rows_per_batch,
            end_tokens=(special.end_of_text, special.end_of_mask),
        ):
            yield StoredSample(sample.problem_id, sample.sample_index, sample.text, sample.finished_by)
