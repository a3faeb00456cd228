"""Samples that a model writes after prompts: many rows at once, each token read once.

A row that ends leaves the batch, and the next sample takes its place. The samples of a prompt share one reading of it.

The draws of a sample are keyed by its problem and its number. On a CPU so is its text: the number of rows, and what the
others hold, change no bit of a row, because matrix products keep to multiples of `ROW_BLOCK` rows (a test holds it). A
GPU may round products of another size differently, so there the size stays the same until the end.

Shapes: `B` rows, `T` tokens, `V` vocabulary.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.data.batches.batch import Batch
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.evaluation.sampling import Sampling, choose
from ablate.model.build import Model
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt
from ablate.objectives.randomness import keyed_rng

# Kernels for fewer rows add in another order: below 8 rows on AMD EPYC, below 16 on Intel's Sapphire Rapids.
ROW_BLOCK = 16

FinishedBy = Literal["end_token", "stop_string", "max_tokens"]


@dataclass(frozen=True)
class Problem:
    """A prompt and the samples to write after it.

    Attributes:
        problem_id: names the prompt; with it, a sample's number and the seed, the draws are the same again.
        prompt: in the form that the model was trained with.
        samples: numbers of the samples to write. A resumed run leaves out those that it has.
        max_tokens: when to end; the model reads at most prompt + `max_tokens` − 1 tokens, which the caller fits into
            its context.
        stop_strings: texts that end a sample.
    """

    problem_id: str
    prompt: Prompt
    samples: Sequence[int]
    max_tokens: int
    stop_strings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A finished sample.

    Attributes:
        problem_id: of its problem.
        sample_index: its number.
        tokens_T: what the model wrote, without the end token, with the tokens of the stop string.
        text: what the tokens spell, without special tokens, up to the stop string.
        finished_by: what ended it.
        end: the name of the end token, or the stop string; "" at `max_tokens`.
    """

    problem_id: str
    sample_index: int
    tokens_T: Tokens
    text: str
    finished_by: FinishedBy
    end: str


def generate(
    model: Model,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    rows: int,
    end_tokens: Collection[int],
) -> Iterator[Sample]:
    """Write samples, and yield each one when it ends.

    Samples are computed while the caller iterates, under the caller's precision.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        problems: what to write. Problems of similar length should be neighbours: each step costs as much as its
            longest row.
        sampling: how tokens are chosen.
        rows: samples that are written at the same time; caches for so many are allocated at the start.
        end_tokens: tokens that end a sample.
    """
    waiting = [(problem, index) for problem in reversed(problems) for index in reversed(problem.samples)]
    if not waiting:
        return
    positions = max(len(problem.prompt.tokens_T) + problem.max_tokens for problem in problems)
    batch = _Batch(model, tokenizer, sampling, frozenset(end_tokens), min(rows, len(waiting)), positions)
    while waiting or batch.is_writing:
        while waiting and batch.has_vacancy:
            batch.start(*waiting.pop())
            yield from batch.take_finished()
        batch.step()
        yield from batch.take_finished()


@dataclass
class _Row:
    """A sample that is being written."""

    problem: Problem
    sample_index: int
    draws_T: NDArray[np.float64]
    tokens: list[int] = field(default_factory=list)
    last_bytes: bytes = b""


class _Batch:
    """The rows that are written at the same time, and their caches."""

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        sampling: Sampling,
        end_tokens: frozenset[int],
        rows: int,
        positions: int,
    ) -> None:
        self.model, self.tokenizer, self.sampling, self.end_tokens = model, tokenizer, sampling, end_tokens
        self.special = tokenizer.special.names()
        self.allocated = _in_blocks(rows)
        self.caches = model.caches(self.allocated, positions)
        # A vacant row is None.
        self.rows: list[_Row | None] = [None] * rows
        # The problem whose prompt each row of the caches begins with.
        self.held: list[Problem | None] = [None] * self.allocated
        # Those of the last prompt that was read.
        self.prompt_logits_V = torch.empty(0)
        self.finished: list[Sample] = []

    @property
    def has_vacancy(self) -> bool:
        """Whether another sample can start."""
        return None in self.rows

    @property
    def is_writing(self) -> bool:
        """Whether any row holds a sample."""
        return any(row is not None for row in self.rows)

    def take_finished(self) -> list[Sample]:
        """Return the samples that have ended since the last call."""
        finished, self.finished = self.finished, []
        return finished

    def start(self, problem: Problem, sample_index: int) -> None:
        """Begin a sample in a vacant row, with its first token.

        Samples of a problem must start one after another: as long as some wait, a row holds the prompt.
        """
        row = self.rows.index(None)
        # A vacant row may hold the prompt itself.
        source = row if self.held[row] is problem else next((i for i, p in enumerate(self.held) if p is problem), None)
        if source is None:
            self.prompt_logits_V = self.model.read_prompt(prompt_batch(problem.prompt), self.caches, row)
        else:
            for cache in self.caches:
                cache.fork(source, row)
        self.held[row] = problem
        rng = keyed_rng(self.sampling.seed, sample_index, f"sample\x1f{problem.problem_id}")
        self.rows[row] = _Row(problem, sample_index, rng.random(problem.max_tokens))
        self._extend([row], self.prompt_logits_V[None])

    def step(self) -> None:
        """Write one token in each row, and drop vacant ones."""
        self._compact()
        if not self.rows:
            return
        is_cpu = self.prompt_logits_V.device.type == "cpu"
        size = _in_blocks(len(self.rows)) if is_cpu else self.allocated
        for cache in self.caches:
            # Rows without a sample are computed and not used.
            cache.length_B[len(self.rows) : size] = 0
        tokens = [row.tokens[-1] for row in self.rows if row is not None]
        token_B = torch.tensor(tokens + [0] * (size - len(tokens)))
        logits_BV = self.model.read_tokens(token_B, self.caches)
        self._extend(range(len(self.rows)), logits_BV[: len(self.rows)])

    def _compact(self) -> None:
        """Move the last rows to where rows are vacant. None is while samples wait."""
        for row in reversed(range(len(self.rows))):
            if self.rows[row] is None:
                last = len(self.rows) - 1
                if row != last:
                    for cache in self.caches:
                        cache.move(last, row)
                    self.rows[row] = self.rows[last]
                self.rows.pop()

    def _extend(self, rows: Sequence[int], logits_BV: Tensor) -> None:
        """Choose the next token of some rows, and finish those that it ends."""
        chosen_rows = [self.rows[row] for row in rows]
        uniform_B = torch.tensor([row.draws_T[len(row.tokens)] for row in chosen_rows if row is not None])
        chosen = choose(logits_BV, uniform_B, self.sampling).tolist()
        for number, token in zip(rows, chosen, strict=True):
            row = self.rows[number]
            assert row is not None
            if token in self.end_tokens:
                self._finish(number, row, "end_token", self.special.get(token, str(token)))
                continue
            row.tokens.append(token)
            stop = self._stop_string(row)
            if stop is not None:
                self._finish(number, row, "stop_string", stop)
            elif len(row.tokens) == row.problem.max_tokens:
                self._finish(number, row, "max_tokens", "")

    def _stop_string(self, row: _Row) -> str | None:
        """Return the stop string that the last token completed, or None."""
        stops = {stop: stop.encode() for stop in row.problem.stop_strings}
        if not stops:
            return None
        if self.tokenizer.can_split:
            text = row.last_bytes + self.tokenizer.bytes_of(row.tokens[-1])
            row.last_bytes = text[-max(map(len, stops.values())) :]
        else:
            # What a token spells depends on its neighbours.
            text = self._text(row).encode()
        stop_at = {text.find(encoded): stop for stop, encoded in stops.items() if encoded in text}
        return stop_at[min(stop_at)] if stop_at else None

    def _text(self, row: _Row) -> str:
        return self.tokenizer.decode(np.array([token for token in row.tokens if token not in self.special], np.int32))

    def _finish(self, number: int, row: _Row, finished_by: FinishedBy, end: str) -> None:
        text = self._text(row)
        if finished_by == "stop_string":
            text = text[: text.find(end)]
        tokens_T = np.array(row.tokens, np.int32)
        self.finished.append(Sample(row.problem.problem_id, row.sample_index, tokens_T, text, finished_by, end))
        self.rows[number] = None


def _in_blocks(rows: int) -> int:
    return -(-rows // ROW_BLOCK) * ROW_BLOCK


def prompt_batch(prompt: Prompt) -> Batch:
    """Return a prompt as a batch of one row without targets and padding."""
    ids_BT = prompt.tokens_T[None]
    none_BT, unused_B = np.zeros(ids_BT.shape, np.int32), np.zeros(1, np.int32)
    position_BT = np.arange(ids_BT.shape[1], dtype=np.int32)[None]
    span_BT = (position_BT < prompt.bidirectional_tokens).astype(np.int32)
    weight_BT = np.zeros(ids_BT.shape, np.float32)
    return Batch(ids_BT, none_BT, weight_BT, np.ones_like(ids_BT), position_BT, span_BT, unused_B, unused_B)
