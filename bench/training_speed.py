"""Compare training speed with Hugging Face's Trainer and litgpt, on one model shape, data set and machine.

    python bench/training_speed.py [--block gptj|llama] [--rounds 3] [--steps 8] [--only NAME …]

17M parameters, context 512, 8 rows per step, AdamW, clipping, bf16 products with fp32 weights, two threads. Each
contender trains in its own process, in rounds of alternating order. A round's time is its fastest step after the
warm-up, because other processes can only slow a step down; a contender's time is the median of its rounds. The rate of
bf16 matrix products is measured in the same rounds, on the layers' shapes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

LAYERS, WIDTH, HEADS, VOCABULARY, CONTEXT, ROWS = 8, 384, 6, 4096, 512, 8
WARM_UP_STEPS = 4
THREADS = 2
LLAMA_INNER = 1024
LEARNING_RATE = 1e-3
Measurement = dict[str, Any]


def rows(step: int) -> Tensor:
    """The tokens of a step: the same for all."""
    return torch.randint(0, VOCABULARY, (ROWS, CONTEXT), generator=torch.Generator().manual_seed(step))


def product_rate() -> Measurement:
    """Operations per second of bf16 products of the layers' shapes, forward and both backward ones."""
    tokens, best, operations = ROWS * CONTEXT, 0.0, 0
    for inner, outer in ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)):
        x, weight, gradient = (
            torch.randn(shape).bfloat16() for shape in ((tokens, inner), (outer, inner), (tokens, outer))
        )
        for left, right in ((x, weight.mT), (gradient, weight), (gradient.mT, x)):
            times = []
            for _ in range(30):
                started = time.perf_counter()
                torch.mm(left, right)
                times.append(time.perf_counter() - started)
            best += min(times)
            operations += 2 * tokens * inner * outer
    return {"rate": operations / best}


def ours(block: str, steps: int, compiled: bool) -> Measurement:
    """A trial's module under its trainer."""
    import lightning.pytorch as pl

    from ablate.config.parse import composed_from_container
    from ablate.data.batches.batch import Batch
    from ablate.data.batches.compute_counts import compute_counts
    from ablate.data.batches.train_batches import TrainBatch
    from ablate.grid.expand import default_container
    from ablate.model.build import build_model
    from ablate.model.flops import training_flops
    from ablate.training.module import TrialModule
    from ablate.training.trainer import build_trainer

    container = default_container(f"block={block}", "precision=bf16", f"compile={str(compiled).lower()}")
    container["scale"] |= {"n_layers": LAYERS, "d_model": WIDTH, "n_heads": HEADS}
    container["scale"] |= {"context_tokens": CONTEXT, "window_tokens": CONTEXT}
    container["budget"] |= {"rows_per_step": ROWS, "train_tokens": 10**9}
    container["schedule"]["decay_tokens"] = 10**9
    container["tokenizer"]["vocab_size"] = VOCABULARY
    trial = composed_from_container(container).trial

    def step(number: int) -> TrainBatch:
        ids = rows(number).numpy()
        ones, index = ids * 0 + 1, ids[:, 0] * 0
        loss_weight = ones.astype("float32")
        loss_weight[:, -1] = 0
        positions = ones.cumsum(1) - 1
        batch = Batch(
            ids, torch.from_numpy(ids).roll(-1, 1).numpy(), loss_weight, ones, positions, ids * 0, index, index
        )
        return TrainBatch(batch, ids.size, ids.size, 0, compute_counts(batch, trial.architecture), ())

    times: list[float] = []
    model = build_model(trial, VOCABULARY)
    trainer = build_trainer(trial)
    clock = pl.callbacks.LambdaCallback(on_train_batch_end=lambda *_: times.append(time.perf_counter()))
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    data: Iterable[TrainBatch] = [step(number) for number in range(steps + 1)]
    trainer.fit(TrialModule(trial, model, "0" * 32, 1e18), torch.utils.data.DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    flops = training_flops(model, **vars(step(0).compute_counts))
    return {"seconds": _gaps(times), "parameters": _parameters(model), "flops": flops}


def trainer(block: str, steps: int, attention: str, compiled: bool) -> Measurement:
    """Hugging Face's Trainer: CodeGen for gptj, Llama for llama."""
    import transformers as hf

    config: Any
    if block == "gptj":
        config = hf.CodeGenConfig(
            n_layer=LAYERS, n_embd=WIDTH, n_head=HEADS, rotary_dim=32, n_positions=CONTEXT, vocab_size=VOCABULARY
        )
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    else:
        config = hf.LlamaConfig(
            num_hidden_layers=LAYERS, hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=LLAMA_INNER
        )
        config.vocab_size = VOCABULARY
    config.use_cache = False
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation=attention)  # type: ignore[no-untyped-call]

    times: list[float] = []

    class Clock(hf.TrainerCallback):
        def on_step_end(self, *arguments: object, **named: object) -> None:
            """One more step."""
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = hf.TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=True,
            per_device_train_batch_size=ROWS,
            max_steps=steps + 1,
            learning_rate=LEARNING_RATE,
            torch_compile=compiled,
            optim="adamw_torch_fused",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        data = [{"input_ids": row, "labels": row} for step in range(steps + 1) for row in rows(step)]
        hf.Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    return {"seconds": _gaps(times), "parameters": _parameters(model)}


def litgpt(block: str, steps: int, compiled: bool) -> Measurement:
    """litgpt's model and loss in the loop of its `pretrain`, under Fabric."""
    from lightning.fabric import Fabric
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    llama = {"norm_class_name": "RMSNorm", "mlp_class_name": "LLaMAMLP", "intermediate_size": LLAMA_INNER}
    gptj = {"parallel_residual": True, "shared_attention_norm": True, "mlp_class_name": "GptNeoxMLP"}
    of_block: dict[str, Any] = gptj if block == "gptj" else {**llama, "parallel_residual": False}
    config = Config(
        name="bench",
        block_size=CONTEXT,
        n_layer=LAYERS,
        n_embd=WIDTH,
        n_head=HEADS,
        padded_vocab_size=VOCABULARY,
        vocab_size=VOCABULARY,
        rotary_percentage=0.5 if block == "gptj" else 1.0,
        bias=block == "gptj",
        **of_block,
    )
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    plain = GPT(config)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=LEARNING_RATE, fused=True)
    module: Any = torch.compile(plain) if compiled else plain
    model, optimizer = fabric.setup(module, optimizer)
    times = []
    for step in range(steps + 1):
        ids = rows(step)
        loss = chunked_cross_entropy(model(ids)[:, :-1], ids[:, 1:])
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
    return {"seconds": _gaps(times), "parameters": _parameters(plain)}


CONTENDERS: dict[str, Callable[[str, int], Measurement]] = {
    "ours": lambda block, steps: ours(block, steps, compiled=False),
    "ours, compiled": lambda block, steps: ours(block, steps, compiled=True),
    "Trainer, eager": lambda block, steps: trainer(block, steps, "eager", compiled=False),
    "Trainer, sdpa": lambda block, steps: trainer(block, steps, "sdpa", compiled=False),
    "Trainer, eager, compiled": lambda block, steps: trainer(block, steps, "eager", compiled=True),
    "Trainer, sdpa, compiled": lambda block, steps: trainer(block, steps, "sdpa", compiled=True),
    "litgpt": lambda block, steps: litgpt(block, steps, compiled=False),
    "litgpt, compiled": lambda block, steps: litgpt(block, steps, compiled=True),
    "matrix products": lambda block, steps: product_rate(),
}


def _gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)][WARM_UP_STEPS:]


def _parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def measured(name: str, block: str, steps: int) -> Measurement | None:
    """One contender in a process of its own; None, and why, if it fails."""
    command = [sys.executable, __file__, "--block", block, "--steps", str(steps), "--run", name]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        print(f"  {name}: failed: {finished.stderr.strip().splitlines()[-1][:200]}")
        return None
    measurement: Measurement = json.loads(finished.stdout.strip().splitlines()[-1])
    return measurement


def main() -> None:
    """Prints each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--block", choices=["gptj", "llama"], default="gptj")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8 + WARM_UP_STEPS)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        torch.set_num_threads(THREADS)
        print(json.dumps(CONTENDERS[options.run](options.block, options.steps)))
        return
    rounds: dict[str, list[Measurement]] = {name: [] for name in options.only}
    for number in range(options.rounds):
        for name in options.only if number % 2 == 0 else reversed(options.only):
            result = measured(name, options.block, options.steps)
            if result:
                rounds[name].append(result)
                print(f"  {name:26} {_shown(result)}", flush=True)
    report({name: results for name, results in rounds.items() if results})


def report(rounds: dict[str, list[Measurement]]) -> None:
    """Print the medians, and ours relative to the best peer and to the matrix products."""
    products = rounds.pop("matrix products", [])
    steps = {name: statistics.median(min(result["seconds"]) for result in results) for name, results in rounds.items()}
    for name, seconds in sorted(steps.items(), key=lambda item: item[1]):
        parameters = rounds[name][0]["parameters"]
        print(f"{name:26} {seconds:.3f} s a step, {ROWS * CONTEXT / seconds:7.0f} tokens/s, {parameters:,} parameters")
    if not any(name.startswith("ours") for name in steps):
        return
    mine = min((name for name in steps if name.startswith("ours")), key=lambda name: steps[name])
    peers = [name for name in steps if not name.startswith("ours")]
    if peers:
        best = min(peers, key=lambda name: steps[name])
        print(f"{mine} is {steps[best] / steps[mine]:.2f} times as fast as {best}")
    if products:
        rate = statistics.median(product["rate"] for product in products)
        share = rounds[mine][0]["flops"] / steps[mine] / rate
        print(f"matrix products {rate / 1e9:.0f} GFLOP/s; {mine} reaches {share:.0%} of them")


def _shown(result: Measurement) -> str:
    return f"{result['rate'] / 1e9:.0f} GFLOP/s" if "rate" in result else f"{min(result['seconds']):.3f} s"


if __name__ == "__main__":
    main()
