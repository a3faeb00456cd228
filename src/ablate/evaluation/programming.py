"""Scores a model on programming problems: programs that it writes and that are run, and the reference solutions.

Samples are stored when they end, verdicts by program, so that a killed run continues and does nothing twice.

Shapes: `T` tokens.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ablate.data.corpus.cache import cache_folder
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.pass_at_k import KS, pass_at_k
from ablate.evaluation.problems import Problem
from ablate.evaluation.prompting import Prompting
from ablate.evaluation.reading import STRUCTURE_TOKENS, Reading
from ablate.evaluation.samples import SampleFile, StoredSample
from ablate.evaluation.suite import Row
from ablate.evaluation.suite_run import Progress
from ablate.files import replacing
from ablate.objectives.example import Tokens

if TYPE_CHECKING:
    from ablate.evaluation.sandbox.program import Verdict
    from ablate.evaluation.scoring import ModelReader

# Every benchmark is one source.
SOURCE = ""


@dataclass(frozen=True)
class Writing:
    """How a model writes programs.

    Attributes:
        samples: of each problem; 0 scores the reference solutions alone.
        max_new_tokens: of a sample, and at most half of the context.
        leading_end_of_text: whether prompts begin with `<|endoftext|>`, as documents do in our training.
        stop_strings: texts that end a sample.
    """

    samples: int
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int
    leading_end_of_text: bool
    stop_strings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """The problems of a suite, and how a model is prompted with them.

    Attributes:
        suite: its name, with which its metrics begin.
        infills: whether the model writes between two sides; else it continues.
    """

    suite: str
    problems: Sequence[Problem]
    held_out: HeldOut
    writing: Writing
    infills: bool = False

    def rows(self, reader: "ModelReader") -> Iterator[Row]:
        """Score a model. A model that was not trained to infill gets no rows that need that."""
        yield from self._reference_rows(reader)
        if self.writing.samples and (not self.infills or self.held_out.prompts.objective.infilling_task is not None):
            yield from self._program_rows(reader)

    @cached_property
    def _tokens(self) -> list[tuple[Tokens, Tokens, Tokens]]:
        """(prompt, suffix, reference) of each problem."""
        encode = self.held_out.tokenizer.encode
        prompts = encode([problem.prompt for problem in self.problems])
        suffixes = encode([problem.suffix or "" for problem in self.problems])
        references = encode([problem.reference for problem in self.problems])
        return list(zip(prompts, suffixes, references, strict=True))

    @property
    def _prompting(self) -> Prompting:
        return Prompting(self.held_out, self.writing.leading_end_of_text)

    def _reference_rows(self, reader: "ModelReader") -> Iterator[Row]:
        """Yield bits and bytes of each reference solution and, where the model infills, exact matches."""
        context, end = reader.context_tokens, np.array([self.held_out.tokenizer.special.end_of_mask], np.int32)
        left, both = [], []
        for problem, (prompt_T, suffix_T, reference_T) in zip(self.problems, self._tokens, strict=True):
            # What is longer than the context is read in views that overlap by half.
            room = max(context // 2, context - len(reference_T)) - STRUCTURE_TOKENS
            left.append(Reading(self._prompting.continuation(prompt_T, room), reference_T))
            prompt = self._prompting.infill(problem.name, prompt_T, suffix_T, room) if self.infills else None
            if prompt is not None:
                both.append(Reading(prompt, np.concatenate([reference_T, end])))
        scores = reader.score([*left, *both])
        name = f"{self.suite}_bpb_left" if self.infills else f"{self.suite}_bpb"
        for problem, score in zip(self.problems, scores[: len(left)], strict=True):
            yield self._bits(name, problem, float(score.nll_S.sum()))
        for problem, score in zip(self.problems, scores[len(left) :], strict=False):
            # The end token is no byte.
            yield self._bits(f"{self.suite}_bpb", problem, float(score.nll_S[:-1].sum()))
            is_exact = bool(score.is_first_choice_S.all())
            yield Row(f"{self.suite}_exact", SOURCE, problem.name, float(is_exact), 1.0)

    def _bits(self, metric: str, problem: Problem, nll: float) -> Row:
        return Row(metric, SOURCE, problem.name, nll / math.log(2), len(problem.reference.encode()))

    def _program_rows(self, reader: "ModelReader") -> Iterator[Row]:
        """Write programs, run them, and yield pass@k of each problem."""
        from ablate.evaluation.sandbox.choice import level_here

        # Before anything is written: where no sandbox holds, nothing could be run.
        level = reader.ranks.on_first(level_here)
        samples = self._written(reader)
        verdicts = reader.ranks.on_first(lambda: self._checked(reader, samples))
        reader.run.conditions["sandbox"] = level.name
        passed = Counter(sample.problem for sample, verdict in zip(samples, verdicts, strict=True) if verdict.passed)
        for k in KS:
            for problem in self.problems if k <= self.writing.samples else ():
                value = pass_at_k(self.writing.samples, passed[problem.name], k)
                yield Row(f"{self.suite}_pass@{k}", SOURCE, problem.name, value, 1.0)

    def _written(self, reader: "ModelReader") -> list[StoredSample]:
        """Return all samples in the order of the problems; write those that an earlier run did not."""
        from ablate.evaluation.generate import Problem as Prompted
        from ablate.evaluation.generate import generate
        from ablate.evaluation.sampling import Sampling

        writing, tokenizer = self.writing, self.held_out.tokenizer
        file = SampleFile(reader.run.path(".samples.jsonl"))
        stored = reader.ranks.on_first(file.read)
        samples = {(sample.problem, sample.sample): sample for sample in stored}
        new_tokens = max(1, min(writing.max_new_tokens, reader.context_tokens // 2))
        room = reader.context_tokens - new_tokens - STRUCTURE_TOKENS
        waiting = []
        for problem, (prompt_T, suffix_T, _) in zip(self.problems, self._tokens, strict=True):
            numbers = [number for number in range(writing.samples) if (problem.name, number) not in samples]
            if not numbers:
                continue
            prompt = (
                self._prompting.infill(problem.name, prompt_T, suffix_T, room)
                if self.infills
                else self._prompting.continuation(prompt_T, room)
            )
            assert prompt is not None, "checked by the caller"
            waiting.append(Prompted(problem.name, prompt, numbers, new_tokens, writing.stop_strings))
        waiting.sort(key=lambda prompted: len(prompted.prompt.tokens_T))
        progress = Progress(reader.run, f"{self.suite}: samples", writing.samples * len(self.problems), len(samples))
        for sample in generate(
            reader.model,
            tokenizer,
            waiting,
            Sampling(writing.temperature, writing.top_p, writing.seed),
            rows=reader.rows_per_batch,
            end_tokens=(tokenizer.special.end_of_text, tokenizer.special.end_of_mask),
        ):
            kept = StoredSample(sample.problem_id, sample.sample_index, sample.text, sample.finished_by)
            if reader.ranks.is_first:
                file.append([kept])
            samples[kept.problem, kept.sample] = kept
            progress.advance()
        return [samples[problem.name, number] for problem in self.problems for number in range(writing.samples)]

    def _checked(self, reader: "ModelReader", samples: Sequence[StoredSample]) -> "list[Verdict]":
        """Run the programs of all samples, equal ones once, and keep them with their verdicts beside the scores."""
        from ablate.evaluation.sandbox.checking import Checker
        from ablate.evaluation.sandbox.choice import level_here
        from ablate.evaluation.sandbox.program import Limits

        problems = {problem.name: problem for problem in self.problems}
        programs = [problems[sample.problem].program(sample.text) for sample in samples]
        distinct = list(dict.fromkeys(programs))
        folder = cache_folder(self.held_out.trial.cache_dir) / "verdicts"
        progress = Progress(reader.run, f"{self.suite}: programs run", len(distinct))
        verdicts = {}
        for program, verdict in zip(distinct, Checker(level_here(), Limits(), folder).verdicts(distinct), strict=True):
            verdicts[program] = verdict
            progress.advance()
        of_samples = [verdicts[program] for program in programs]
        self._keep(reader, samples, of_samples)
        return of_samples

    def _keep(self, reader: "ModelReader", samples: Sequence[StoredSample], verdicts: "Sequence[Verdict]") -> None:
        path = reader.run.path(".programs.parquet")
        if path is None:
            return
        import pandas as pd

        # Parquet stores UTF-8, and a model may write half of a character.
        texts = [sample.text.encode(errors="replace").decode() for sample in samples]
        prompts = {problem.name: problem.prompt for problem in self.problems}
        rows = [
            {
                **(vars(sample) | {"text": text}),
                "prompt": prompts[sample.problem],
                "outcome": str(verdict.outcome),
                "reason": verdict.reason,
                "sandbox": verdict.level,
            }
            for sample, text, verdict in zip(samples, texts, verdicts, strict=True)
        ]
        with replacing(path) as scratch:
            pd.DataFrame(rows).to_parquet(scratch)
