"""Check and measure everything that only a GPU can show, in one command of at most nine minutes, without a network.

    python bench/gpu.py [--minutes 9] [--json PATH] [--only attention leaks …]
    python bench/gpu.py --wheels DIR

It needs torch ≥ 2.11, numpy, this repository and a few small packages. The second command collects those as wheels
(Python 3.12, x86-64) where there is a network; where there is none, `pip install --no-index --no-deps --target SITE
DIR/*.whl` installs them. Parts run in the order of their worth; what no longer fits into the time is skipped and named.
Without a GPU the same parts run at a tiny size, which checks this file and no more; compiled kernels are skipped.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

# What the repository needs here, beside torch and numpy.
PACKAGES = (
    "hydra-core==1.3.2",
    "omegaconf==2.3.0",
    "antlr4-python3-runtime==4.9.3",
    "pydantic",
    "annotated-types",
    "typing-inspection",
    "typing-extensions",
    "packaging",
    "pyyaml",
    "tokenizers",
    "tiktoken",
    "regex",
)
ARMS = (
    "objective=causal",
    "objective=prefix",
    "objective=span_corruption",
    "objective=mixed",
    "objective=mixed_prefix",
    "objective=ul2",
    "objective=ul2_modes",
    "infill=psm infill.rate=1.0",
    "infill=spm infill.rate=1.0",
    "infill=joint infill.rate=1.0",
    "infill=sentinel infill.rate=1.0",
)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        ok: whether a check holds; None for a measurement.
    """

    part: str
    name: str
    result: str
    ok: bool | None = None


def wheels(folder: Path) -> None:
    """Collect what the benchmark needs beside torch and numpy."""
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 17, 12, 5)] + ["manylinux2014_x86_64"]
    target = ["--python-version", "3.12", "--implementation", "cp", "--only-binary=:all:"]
    target += [word for platform in platforms for word in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip"]
    # antlr4 has no wheel, and is pure Python.
    sources = [package for package in PACKAGES if package.startswith("antlr4")]
    built = [package for package in PACKAGES if package not in sources]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), *sources], check=True)
    subprocess.run([*pip, "download", "-q", "--no-deps", "-d", str(folder), *target, *built], check=True)
    # Its version decides which pydantic-core fits.
    [pydantic] = folder.glob("pydantic-*.whl")
    names = subprocess.run(["unzip", "-p", str(pydantic), "*/METADATA"], capture_output=True, text=True, check=True)
    [core] = [
        line.split(": ")[1] for line in names.stdout.splitlines() if line.startswith("Requires-Dist: pydantic-core")
    ]
    subprocess.run([*pip, "download", "-q", "--no-deps", "-d", str(folder), *target, core], check=True)
    size = sum(path.stat().st_size for path in folder.glob("*.whl"))
    print(f"{len(list(folder.glob('*.whl')))} wheels, {size / 1e6:.1f} MB, in {folder}")


class Bench:
    """The device and the sizes of a run; each part yields rows."""

    def __init__(self, *, seconds: float) -> None:
        import torch

        self.torch = torch
        self.ends = time.monotonic() + seconds
        self.is_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.is_gpu else "cpu")
        self.flex = "flex" if self.is_gpu else "sdpa"

    @property
    def seconds_left(self) -> float:
        """Seconds until the time is up."""
        return self.ends - time.monotonic()

    def trial(self, *overrides: str) -> Any:
        """Compose a trial; it runs on this device."""
        from ablate.config.parse import composed_from_container
        from ablate.grid.expand import default_container

        hardware = ["hardware=gpu"] if self.is_gpu else ["hardware=cpu"]
        return composed_from_container(default_container(*hardware, *overrides)).trial

    def model(self, trial: Any) -> Any:
        """Build a trial's model where it is used."""
        from ablate.model.build import build_model

        with self.torch.device("meta"):
            model = build_model(trial, trial.tokenizer.vocab_size)
        model.materialise(self.device)
        return model

    def batch(self, rows: int, length: int, vocabulary: int) -> Any:
        """Draw rows of random tokens, two segments each."""
        import numpy as np

        from ablate.data.batches.batch import Batch

        ids = np.random.default_rng(0).integers(0, vocabulary, (rows, length), dtype=np.int32)
        zeros, index = np.zeros_like(ids), np.zeros(rows, np.int32)
        document, weights = zeros + 1, np.ones(ids.shape, np.float32)
        document[:, length // 3 :] = 2
        weights[:, [length // 3 - 1, length - 1]] = 0
        position = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
        return Batch(ids, np.roll(ids, -1, 1), weights, document, position, zeros, index, index)

    def narrow(self) -> Any:
        """Autocast as Lightning has it."""
        return self.torch.autocast(self.device.type, self.torch.bfloat16, cache_enabled=False)

    def wait(self) -> None:
        """Wait for the device."""
        if self.is_gpu:
            self.torch.cuda.synchronize()

    def forget(self) -> None:
        """Free what an earlier part held."""
        gc.collect()
        if self.is_gpu:
            self.torch.cuda.empty_cache()
            self.torch.cuda.reset_peak_memory_stats()


def environment(bench: Bench) -> Iterator[Row]:
    """Name the device, and measure its rate of bf16 products."""
    torch = bench.torch
    name = torch.cuda.get_device_name() if bench.is_gpu else "cpu"
    yield Row("environment", "device", f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    size = 8192 if bench.is_gpu else 512
    left, right = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        bench.wait()
        started = time.perf_counter()
        left @ right
        bench.wait()
        best = min(best, time.perf_counter() - started)
    yield Row("environment", f"bf16 products of {size}²", f"{2 * size**3 / best / 1e12:.2f} TFLOP/s")


def attention(bench: Bench) -> Iterator[Row]:
    """Compare the device's attention with the dense matrix, forward and backward, over segments and spans."""
    from ablate.model.attention import AttentionMask

    torch = bench.torch
    length = 1024 if bench.is_gpu else 96
    document = torch.ones(3, length, dtype=torch.long)
    span = torch.zeros_like(document)
    document[1, length // 3 :], document[2, length // 4 :], document[2, -length // 5 :] = 2, 2, 0
    span[0, : length // 2], span[1, length // 3 : length // 2], span[2, : length // 5] = 1, 2, 1
    for dtype, tolerance in ((torch.float32, 2e-3 if bench.is_gpu else 1e-5), (torch.bfloat16, 3e-2)):
        for backend in dict.fromkeys((bench.flex, "sdpa")):
            torch.manual_seed(0)
            inputs = [torch.randn(3, 4, length, 64, device=bench.device, requires_grad=True) for _ in range(3)]
            keep = (document > 0)[:, None, :, None].to(bench.device)

            def run(backend: str, dtype: Any, inputs: Any = inputs, keep: Any = keep) -> list[Any]:
                mask = AttentionMask.from_segments(document, span, dtype, True, backend, bench.device)  # type: ignore[arg-type]
                query, key, value = (part.to(dtype) for part in inputs)
                output = mask.attend(query, key, value).float() * keep
                return [output.detach(), *torch.autograd.grad(output.square().sum(), inputs)]

            wanted = run("dense", torch.float32)
            found = run(backend, dtype)
            errors = [float((one - other).norm() / other.norm()) for one, other in zip(found, wanted, strict=True)]
            name = f"{backend} {str(dtype).split('.')[-1]} against dense fp32"
            listed = ", ".join(f"{error:.1e}" for error in errors)
            yield Row("attention", name, f"relative errors of output, q, k, v: {listed}", max(errors) < tolerance)


def leaks(bench: Bench) -> Iterator[Row]:
    """Check by exact zero gradients that a position reads what its objective's mask shows, through whole models."""
    import numpy as np

    from ablate.data.batches.batch import pack
    from ablate.data.tokens.tokenizer import Tokenizer
    from ablate.model.attention import attention_mask_BTT
    from ablate.objectives.objective import Objective, RowTransform

    torch = bench.torch
    shape = ["scale.context_tokens=96", "scale.window_tokens=72", "tokenizer=bytes"]
    tokenizer = None
    for arm in ARMS:
        for architecture in ("prefix_decoder", "causal_decoder"):
            backend = f"hardware.attention={bench.flex}"
            trial = bench.trial(*arm.split(), f"architecture={architecture}", backend, *shape)
            tokenizer = tokenizer or Tokenizer.of(trial.tokenizer, lambda: iter(()))
            transform = RowTransform(Objective.of(trial), tokenizer.special, 0, tokenizer.splitter)
            tokens = tokenizer.encode(["def f(x):\n    return x + 1  # one\n\nthe verse and the word\n" * 2])[0][:72]
            example, _ = transform.example(3, tokens, (40, len(tokens) - 40))
            batch, _ = pack([example], tasks=[0], sources=[0], context_tokens=96)
            model = bench.model(trial)
            document = torch.from_numpy(batch.document_BT)
            span = torch.from_numpy(batch.span_BT) * int(architecture == "prefix_decoder")
            seen = attention_mask_BTT(document, span)[0]
            has_loss = np.flatnonzero(batch.loss_weight_BT[0])
            told = not any(bool(seen[position, position + 1]) for position in has_loss.tolist())
            reached = _reached(bench, model, batch)
            real = document[0] > 0
            same = bool((reached[real] == seen[real]).all())
            yield Row(
                "leaks", f"{arm}, {architecture}", f"{len(has_loss)} targets, {int(seen.sum())} pairs", told and same
            )


def _reached(bench: Bench, model: Any, batch: Any) -> Any:
    """Which position's embedding each position's last state depends on: (T, T)."""
    torch = bench.torch
    copies = batch.input_ids_BT.shape[1]
    parts = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.span_BT)
    rows = [torch.from_numpy(part).expand(copies, -1).contiguous() for part in parts]
    kept: list[Any] = []

    def keep(module: object, inputs: object, output: Any) -> Any:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    handle = model.embedding.register_forward_hook(keep)
    hidden = model(*rows)
    handle.remove()
    diagonal = torch.arange(copies, device=bench.device)
    probe = torch.arange(hidden.shape[-1], dtype=hidden.dtype, device=bench.device)
    [gradient] = torch.autograd.grad((hidden[diagonal, diagonal] * probe).sum(), kept)
    return (gradient.abs().sum(-1) > 0).cpu()


def parity(bench: Bench) -> Iterator[Row]:
    """Compare a step in bf16 with one in fp32: loss and gradients."""
    trial = bench.trial("scale=4m" if bench.is_gpu else "scale=demo", f"hardware.attention={bench.flex}")
    batch = bench.batch(4, trial.scale.context_tokens, trial.tokenizer.vocab_size)
    found = []
    for is_narrow in (False, True):
        model = bench.model(trial)
        with bench.torch.autocast(bench.device.type, bench.torch.bfloat16, enabled=is_narrow, cache_enabled=False):
            loss = model.loss(batch) / batch.loss_weight_BT.sum()
            bench.torch.autograd.backward(loss)
        found.append((float(loss.detach()), bench.torch.cat([weight.grad.flatten() for weight in model.parameters()])))
    (wide, by_wide), (narrow, by_narrow) = found
    error = float((by_wide - by_narrow).norm() / by_wide.norm())
    text = f"loss {wide:.4f} and {narrow:.4f}, gradients differ by {error:.1%}"
    yield Row("parity", "bf16 against fp32", text, abs(wide - narrow) < 0.02 and error < 0.05)


def speed(bench: Bench) -> Iterator[Row]:
    """Measure steps: tokens per second, MFU and memory, beside the memory that `model.memory` predicts."""
    variants = [
        ("1b", "full", "flex", False),
        ("1b", "selective", "flex", False),
        ("1b", "none", "flex", False),
        ("1b", "full", "sdpa", False),
        ("1b", "full", "flex", True),
        ("1b", "none", "flex", True),
        ("350m", "none", "flex", True),
        ("150m", "none", "flex", True),
        ("350m", "none", "flex", False),
        ("150m", "none", "flex", False),
    ]
    if not bench.is_gpu:
        variants = [("demo", mode, "sdpa", False) for mode in ("full", "selective", "none")]
    for scale, checkpointing, backend, is_compiled in variants:
        name = f"{scale}, {checkpointing} checkpointing, {backend}{', compiled' if is_compiled else ''}"
        if bench.seconds_left < (75 if is_compiled else 30):
            yield Row("speed", name, "skipped: out of time")
            continue
        bench.forget()
        try:
            yield _step(bench, name, scale, checkpointing, backend, is_compiled)
        except bench.torch.OutOfMemoryError:
            yield Row("speed", name, "out of memory")


def _step(bench: Bench, name: str, scale: str, checkpointing: str, backend: str, is_compiled: bool) -> Row:
    from ablate.data.batches.compute_counts import compute_counts
    from ablate.model.flops import training_flops
    from ablate.model.memory import training_memory
    from ablate.model.utilisation import all_pairs_flops, device_peak_flops
    from ablate.training.optimizer import adamw

    rows = {"1b": 8, "350m": 16, "150m": 32, "demo": 2}[scale]
    vocabulary = "tokenizer.vocab_size=51200" if bench.is_gpu else "tokenizer.vocab_size=4096"
    trial = bench.trial(
        f"scale={scale}",
        vocabulary,
        "precision=bf16",
        f"scale.activation_checkpointing={checkpointing}",
        f"hardware.attention={backend}",
        f"budget.rows_per_step={rows}",
    )
    model = bench.model(trial)
    optimizer = adamw(model, trial.optimizer)
    if is_compiled:
        model.compile_blocks()
    batch = bench.batch(rows, trial.scale.context_tokens, trial.tokenizer.vocab_size)
    seconds = []
    for _ in range(6 if bench.is_gpu else 2):
        bench.wait()
        started = time.perf_counter()
        optimizer.zero_grad()
        with bench.narrow():
            bench.torch.autograd.backward(model.loss(batch) / batch.loss_weight_BT.sum())
        bench.torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        bench.wait()
        seconds.append(time.perf_counter() - started)
    best, tokens = min(seconds), batch.input_ids_BT.size
    text = f"{best:.3f} s a step (first {seconds[0]:.1f} s), {tokens / best:,.0f} tokens/s"
    if peak := device_peak_flops(bench.device, "bf16"):
        visible = training_flops(model, **vars(compute_counts(batch, trial.architecture)))
        everything = all_pairs_flops(model, tokens=tokens, row_tokens=trial.scale.context_tokens)
        assert everything is not None
        text += f", MFU {visible / best / peak:.1%} of visible and {everything / best / peak:.1%} of all pairs"
    told = training_memory(trial, devices=1, strategy="single")
    if bench.is_gpu:
        text += f", {bench.torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    return Row("speed", name, f"{text}, predicted {(told.total - told.overhead) / 1e9:.2f} GB without overhead")


def sharded(bench: Bench) -> Iterator[Row]:
    """Train under FSDP2 at one rank and compare with a model that is not sharded."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    from ablate.training.sharding import shard

    torch = bench.torch
    trial = bench.trial("scale=demo", f"hardware.attention={bench.flex}")
    batch = bench.batch(2, trial.scale.context_tokens, trial.tokenizer.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        backend = "nccl" if bench.is_gpu else "gloo"
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            from ablate.model.build import build_model

            with torch.device("meta"):
                parts = build_model(trial, trial.tokenizer.vocab_size)
            shard(parts, init_device_mesh(bench.device.type, (1,)), trial)
            parts.materialise(bench.device)
            losses = []
            for model in (parts, bench.model(trial)):
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
                for _ in range(3):
                    loss = model.loss(batch) / batch.loss_weight_BT.sum()
                    torch.autograd.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                losses.append(float(loss.detach()))
        finally:
            dist.destroy_process_group()
    text = f"loss after 3 steps {losses[0]:.6f} and {losses[1]:.6f}"
    yield Row("sharded", f"FSDP2 at one rank, {backend}", text, abs(losses[0] - losses[1]) < 1e-4)


def resume(bench: Bench) -> Iterator[Row]:
    """Save a model and its optimizer, load them into new ones, and compare the next steps bit for bit."""
    from ablate.training.optimizer import adamw

    torch = bench.torch
    trial = bench.trial("scale=demo", f"hardware.attention={bench.flex}")
    batch = bench.batch(2, trial.scale.context_tokens, trial.tokenizer.vocab_size)

    def steps(model: Any, optimizer: Any, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            loss = model.loss(batch) / batch.loss_weight_BT.sum()
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    model = bench.model(trial)
    optimizer = adamw(model, trial.optimizer)
    steps(model, optimizer, 3)
    with tempfile.TemporaryDirectory() as folder:
        torch.save([model.state_dict(), optimizer.state_dict()], f"{folder}/state.pt")
        weights, moments = torch.load(f"{folder}/state.pt", weights_only=True, map_location=bench.device)
    expected = steps(model, optimizer, 3)
    again = bench.model(trial)
    again.load_state_dict(weights)
    optimizer = adamw(again, trial.optimizer)
    optimizer.load_state_dict(moments)
    found = steps(again, optimizer, 3)
    yield Row("resume", "three steps after loading", f"{found} and {expected}", found == expected)


def generation(bench: Bench) -> Iterator[Row]:
    """Write samples with a cache of keys and values; compare the cached logits with those of reading all again."""
    import numpy as np

    from ablate.evaluation.generate import prompt_batch
    from ablate.objectives.prompt import Prompt

    torch = bench.torch
    trial = bench.trial("scale=150m" if bench.is_gpu else "scale=demo", "hardware.attention=sdpa")
    model = bench.model(trial).eval()
    rows, prompt_tokens, steps = (64, 256, 128) if bench.is_gpu else (4, 12, 4)
    ids = np.random.default_rng(0).integers(0, trial.tokenizer.vocab_size, prompt_tokens, dtype=np.int32)
    for name, is_narrow in (("fp32", False), ("bf16", True)):
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=is_narrow), torch.inference_mode():
            caches = model.caches(rows, prompt_tokens + steps)
            first = model.read_prompt(prompt_batch(Prompt(ids, 0)), caches, 0)
            for row in range(rows):
                caches[0].fork(0, row)
            token, written, started = first.argmax().expand(rows), [], 0.0
            for step in range(steps):
                if step == 2:
                    bench.wait()
                    started = time.perf_counter()
                written.append(int(token[0]))
                logits = model.read_tokens(token.cpu(), caches)
                token = logits.argmax(-1)
            bench.wait()
            rate = rows * (steps - 2) / (time.perf_counter() - started)
            whole = np.append(ids, np.array(written, np.int32))
            inputs = model.prepared(prompt_batch(Prompt(whole, 0))).inputs
            wanted = model.head(model.states(inputs)[0, -1]).float()
        yield Row("generation", f"{rows} rows, {name}", f"{rate:.0f} tokens/s")
        error = float((logits - wanted).norm() / wanted.norm())
        is_near = error < (5e-2 if is_narrow else 2e-3)
        yield Row("generation", f"cached logits, {name}", f"relative error {error:.1e}", is_near)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "environment": environment,
    "attention": attention,
    "parity": parity,
    "resume": resume,
    "sharded": sharded,
    "leaks": leaks,
    "speed": speed,
    "generation": generation,
}


def main() -> int:
    """Run the parts, print a line each, and write the JSON. Exits with 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="collect what is needed, and do nothing else")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--json", type=Path, default=Path(os.environ.get("OUT", ".")) / "gpu.json")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    if options.wheels:
        wheels(options.wheels)
        return 0
    # Half a minute for imports, JSON and the end of the part that runs last.
    bench = Bench(seconds=60 * options.minutes - 30)
    if not bench.is_gpu:
        print("No GPU: every part runs at a tiny size; FlexAttention, compiled blocks, NCCL, MFU and 1B are skipped.")
    rows: list[Row] = []
    for part in options.only:
        started = time.monotonic()
        if bench.seconds_left < 20:
            rows.append(Row(part, "whole part", "skipped: out of time"))
            print(f"{'':6} {part:12} skipped: out of time", flush=True)
            continue
        try:
            for row in PARTS[part](bench):
                rows.append(row)
                print(
                    f"{ {True: 'ok', False: 'FAILED', None: ''}[row.ok]:6} {part:12} {row.name}: {row.result}",
                    flush=True,
                )
        except Exception as error:
            traceback.print_exc()
            rows.append(Row(part, "whole part", f"{type(error).__name__}: {error}", ok=False))
        print(f"{'':6} {part:12} took {time.monotonic() - started:.0f} s", flush=True)
    failed = [row for row in rows if row.ok is False]
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"{len(rows)} rows, {len(failed)} failed; written to {options.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
