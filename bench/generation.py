"""Compare the speed of generation with `transformers.generate`, on one model, its prompts, batch and machine.

    python bench/generation.py [--block gptj llama] [--rounds 5] [--rows 32] [--threads 2] [--scale 20m]

The weights of a trial of `scale=20m` are drawn, the head's with a larger spread, so that the distributions are as
peaked as those of a trained model. Both libraries hold the same weights in fp32 and write the same number of tokens
after the same prompts. transformers gets its best settings: the prompts in one padded batch, `num_return_sequences` for
the samples of a prompt. Rounds alternate; the ratio is the median of the rounds' ratios. Greedy texts are compared.

Workloads: the samples of one prompt · one sample of each prompt, of different lengths · the same, greedily · samples
that end at different lengths, as programs do: there a batch of transformers runs until its longest text ends.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ablate.config.parse import composed_from_container
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.evaluation.generate import Problem, generate
from ablate.evaluation.sampling import Sampling
from ablate.grid.expand import default_container
from ablate.model.build import build_model
from ablate.model.hf import to_hugging_face
from ablate.objectives.prompt import Prompt

PROMPT_TOKENS, NEW_TOKENS = 256, 256
END, PADDING = 3, 0
PEAKED = 12.0
# Programs for HumanEval have about so many tokens; the fewest are as long as the limit.
MEAN_TOKENS, ENDING_PROMPTS = 64, 4


@dataclass(frozen=True)
class Workload:
    """What both libraries write.

    Attributes:
        prompts: the prompts' tokens.
        samples: of each prompt.
        sampling: how.
        ends: tokens that end a text.
    """

    name: str
    prompts: list[list[int]]
    samples: int
    sampling: Sampling
    ends: tuple[int, ...] = ()


class Models:
    """The same weights in both libraries, and a tokenizer of bytes."""

    def __init__(self, block: str, scale: str) -> None:
        import transformers

        trial = composed_from_container(default_container("hardware=cpu", f"scale={scale}", f"block={block}")).trial
        self.tokenizer = Tokenizer.of(replace(trial.tokenizer, kind="bytes"), lambda: iter(()))
        self.vocabulary = trial.tokenizer.vocab_size
        self.ours = build_model(trial, self.vocabulary).eval()
        with torch.no_grad():
            self.ours.head.weight.mul_(PEAKED)
        self.parameters = sum(weight.numel() for weight in self.ours.parameters())
        config, weights = to_hugging_face(self.ours.state_dict(), trial, qkv_groups=4, end_of_text=END)
        name = config["architectures"][0]
        self.theirs: Any = getattr(transformers, name)(
            getattr(transformers, name.replace("ForCausalLM", "Config"))(**config)
        )
        self.theirs.load_state_dict(weights)
        self.theirs.eval()

    def write(self, workload: Workload, rows: int, new_tokens: int) -> list[list[int]]:
        """Write by our sampler."""
        problems = [
            Problem(str(number), Prompt(np.array(prompt, np.int32), 0), range(workload.samples), new_tokens)
            for number, prompt in enumerate(workload.prompts)
        ]
        samples = generate(self.ours, self.tokenizer, problems, workload.sampling, rows=rows, end_tokens=workload.ends)
        texts = {(int(sample.problem_id), sample.sample_index): sample.tokens_T.tolist() for sample in samples}
        return [texts[key] for key in sorted(texts)]

    def write_theirs(self, workload: Workload, rows: int, new_tokens: int) -> list[list[int]]:
        """Write by transformers, in batches of so many rows."""
        options: dict[str, Any] = {"do_sample": False}
        if workload.sampling.temperature > 0:
            options = {
                "do_sample": True,
                "temperature": workload.sampling.temperature,
                "top_p": workload.sampling.top_p,
                "top_k": 0,
            }
        options["eos_token_id"] = list(workload.ends) or None
        texts: list[list[int]] = []
        at_once = max(1, rows // workload.samples)
        for first in range(0, len(workload.prompts), at_once):
            prompts = workload.prompts[first : first + at_once]
            longest = max(map(len, prompts))
            ids = torch.tensor([[PADDING] * (longest - len(prompt)) + prompt for prompt in prompts])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
            for _ in range(-(-workload.samples // rows)):
                written = self.theirs.generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=new_tokens,
                    num_return_sequences=min(workload.samples, rows),
                    pad_token_id=PADDING,
                    **options,
                )
                texts += written[:, longest:].tolist()
        return texts


def workloads(rows: int, vocabulary: int) -> list[Workload]:
    """Return the workloads for a batch of so many rows."""
    rng = np.random.default_rng(0)

    def prompt(length: int) -> list[int]:
        return [int(token) for token in rng.integers(END + 1, vocabulary, length)]

    lengths = rng.integers(PROMPT_TOKENS // 2, PROMPT_TOKENS + 1, rows).tolist()
    several = [prompt(length) for length in lengths]
    ending = [prompt(length) for length in lengths[:ENDING_PROMPTS]]
    ends = tuple(rng.choice(np.arange(END + 1, vocabulary), vocabulary // MEAN_TOKENS, replace=False).tolist())
    sampled = Sampling(0.8, 0.95)
    return [
        Workload(f"{rows} samples of one prompt", [prompt(PROMPT_TOKENS)], rows, sampled),
        Workload(f"one sample of {rows} prompts", several, 1, sampled),
        Workload(f"one greedy text of {rows} prompts", several, 1, Sampling()),
        Workload(f"samples of {ENDING_PROMPTS} prompts that end at different lengths", ending, rows, sampled, ends),
    ]


def timed(write: Callable[[Workload, int, int], list[list[int]]], *given: Any) -> tuple[float, float, list[list[int]]]:
    """Return the seconds, those of the CPU, and the texts."""
    started, cpu_started = time.perf_counter(), time.process_time()
    texts = write(*given)
    return time.perf_counter() - started, time.process_time() - cpu_started, texts


def ratio(seconds: dict[str, list[float]]) -> float:
    """Return the median of the rounds' ratios."""
    pairs = zip(seconds["ablate"], seconds["transformers"], strict=True)
    return statistics.median(theirs / ours for ours, theirs in pairs)


def compare(models: Models, workload: Workload, rows: int, rounds: int, new_tokens: int) -> dict[str, Any]:
    """Measure both in alternating order."""
    contenders = {"ablate": models.write, "transformers": models.write_theirs}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in contenders}
    texts = {}
    for write in contenders.values():
        write(workload, rows, 4)
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            took, cpu_took, texts[name] = timed(contenders[name], workload, rows, new_tokens)
            seconds[name].append(took)
            cpu_seconds[name].append(cpu_took)
    samples = len(texts["ablate"])
    assert samples == len(texts["transformers"]) == len(workload.prompts) * workload.samples
    result: dict[str, Any] = {
        "workload": workload.name,
        **{f"{name} samples/s": samples / statistics.median(times) for name, times in seconds.items()},
        "ratio": ratio(seconds),
        "ratio of CPU seconds": ratio(cpu_seconds),
    }
    if workload.sampling.temperature == 0:
        pairs = zip(texts["ablate"], texts["transformers"], strict=True)
        result["equal greedy texts"] = sum(ours == theirs for ours, theirs in pairs)
    return result


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--block", nargs="+", default=["gptj", "llama"], choices=["gptj", "llama"])
    parser.add_argument("--scale", default="20m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=NEW_TOKENS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="*")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    for block in given.block:
        models = Models(block, given.scale)
        print(f"{block}, {models.parameters / 1e6:.1f}M parameters, {given.threads} threads", flush=True)
        for number, workload in enumerate(workloads(given.rows, models.vocabulary)):
            if given.only is None or number in given.only:
                found = compare(models, workload, given.rows, given.rounds, given.new_tokens)
                print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}), flush=True)


if __name__ == "__main__":
    main()
