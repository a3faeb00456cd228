"""The text of `--hydra-help`: how overrides are written. Hydra's own text names flags that ablate does not take."""

from ablate.verbs.flag import HYDRA_FLAGS
from ablate.verbs.table import PROGRAM

OVERRIDES = {
    "objective=prefix": "a choice of a config group",
    "optimizer.learning_rate=1e-3": "a value",
    "budget.train_tokens=1.5M": "a count: 1500000, 1.5M, 20k or 2B",
    "objective=causal,prefix": "with -m: several values make arms; also range(0,5) and choice(a,b)",
    "'optimizer.beta2=interval(0.9,0.999)'": "with -m: each arm is tuned in this interval",
    "mixture=own 'mixture.weights={code: 1, docs: 3}'": "a mapping; the quotes are for the shell",
    "'evaluation=[bits_per_byte,infill]'": "a list",
    "'lesson.question=\"Which one, then?\"'": "text with a comma, a quote or other signs stands in quotes twice",
    "'+lesson.contrasts={masks: {weights: {prefix: 1, causal: -1}}}'": "+ adds a key that is not there",
    "~lesson.contrasts.masks": "~ removes a key",
}


def hydra_help() -> str:
    """Return the help on overrides and on the flags of verbs that compose."""
    flags = [(f"{', '.join(flag.names)} {flag.value}".strip(), flag.help) for flag in HYDRA_FLAGS]
    lines = ["ablate composes its configuration with Hydra (https://hydra.cc).", "", "Overrides:"]
    for override, meaning in OVERRIDES.items():
        lines += [f"  {override}", f"      {meaning}"]
    lines += ["", "Flags, before or after the verb:", *(f"  {names:<28}{meaning}" for names, meaning in flags)]
    lines += ["", f"`{PROGRAM} --help` lists the config groups; `{PROGRAM} --cfg job` prints every key."]
    return "\n".join(lines)
