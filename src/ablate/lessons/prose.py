"""What a lesson says in words: the question, what each metric asks, and what the arms were trained for."""

from collections.abc import Sequence

from ablate.lessons.estimate import POWER
from ablate.lessons.lesson import Lesson
from ablate.lessons.metric import metric

ENOUGH_SEEDS_TO_CHECK_NOISE = 5


def listed(labels: Sequence[str], most: int = 6) -> str:
    """Labels in a sentence, the first ones where they are many."""
    if len(labels) <= most:
        return ", ".join(labels)
    return f"{', '.join(labels[: most - 1])} and {len(labels) - most + 1:,} more"


def question(found: Lesson) -> str:
    """The declared question, or one made from what is swept."""
    declared = found.results.declaration["question"]
    if declared:
        return str(declared)
    factors = " and ".join(found.results.declaration["factors"])
    if not factors:
        return "What does this one arm reach?"
    return f"Does changing {factors} change {found.results.declaration['primary_metric']}?"


def training_notes(found: Lesson) -> list[str]:
    """A sentence for each way in which arms were trained for something else than the baseline."""
    arms = {arm.label: arm for arm in found.results.arms}
    baseline = arms[found.results.baseline]
    by_mix: dict[str, list[str]] = {}
    for arm in arms.values():
        if arm.tasks != baseline.tasks:
            mix = ", ".join(f"{share:.0%} {task}" for task, share in arm.tasks.items())
            by_mix.setdefault(mix, []).append(arm.label)
    notes = [f"{listed(labels)} ({mix})" for mix, labels in by_mix.items()]
    if not notes:
        return []
    of_baseline = ", ".join(f"{share:.0%} {task}" for task, share in baseline.tasks.items())
    return [
        f"Trained for something else too: {'; '.join(notes)}; the baseline {baseline.label} is {of_baseline}. "
        "What such an arm gives up here may be the price of an ability that these metrics do not ask for "
        "(filling in a middle, reading a prefix both ways): worse here is not worse at everything."
    ]


def data_notes(found: Lesson) -> list[str]:
    """What each arm read of each source, and how often."""
    by_reading: dict[str, list[str]] = {}
    for arm, reading in found.results.reading().items():
        told = ", ".join(
            f"{share:.1%} {source} ({epochs:.2f} epoch{'' if epochs == 1 else 's'})"
            for source, (share, epochs) in sorted(reading.items())
        )
        by_reading.setdefault(told, []).append(arm)
    if len(by_reading) == 1:
        return [f"Read: {told}." for told in by_reading]
    return (
        ["Read: " + "; ".join(f"{listed(arms)}: {told}" for told, arms in by_reading.items()) + "."]
        if by_reading
        else []
    )


def metric_notes(found: Lesson) -> list[str]:
    """What each metric in the table asks."""
    names = dict.fromkeys(name.split("/")[0] for name in [*found.estimates, *found.uncompared])
    return [f"`{name}`: {metric(name).meaning}" for name in names]


def unigram_notes(found: Lesson) -> list[str]:
    """How far the baseline is from a model without any context."""
    estimate = found.estimates.get("bpb_full")
    unigram = found.results.unigram().get(found.results.baseline)
    if estimate is None or unigram is None:
        return []
    share = 1 - estimate.baseline_mean / unigram
    place = f"{share:.1%} below it" if share > 0 else f"{-share:.1%} above it, so it has learned next to nothing"
    return [f"A unigram model of the training mixture reaches bpb_full {unigram:.4f}; {estimate.baseline} is {place}."]


def nothing_to_compare(found: Lesson) -> str:
    """Why there is no estimate at all."""
    baseline = found.results.baseline
    if baseline in found.results.unstable():
        return f"The baseline {baseline} is unstable: {found.results.unstable()[baseline]} of its trials diverged."
    missing = listed([f"{arm} {share}" for arm, share in found.results.missing().items()])
    return f"No seed is finished in every arm (finished: {missing or 'all'})."


def _what_seeds_vary(found: Lesson) -> str:
    pairs = [seeds.split("/") for seeds in found.results.arms[0].trials]
    if len({pair[0] for pair in pairs}) == 1:
        return "order of the data; the initial values are fixed"
    if len({pair[-1] for pair in pairs}) == 1:
        return "initial values; the order of the data is fixed"
    return "initial values and order of the data"


def certainty_notes(found: Lesson) -> list[str]:
    """How sure the table is, and what would make it surer."""
    declaration, estimate = found.results.declaration, found.primary
    if estimate is None:
        return [nothing_to_compare(found)]
    effect, unit = declaration["smallest_effect"], metric(declaration["primary_metric"]).unit
    if not estimate.differences:
        return ["One arm: nothing to compare it with. Sweep something, e.g. -m objective=causal,prefix,mixed."]
    if estimate.noise is None or estimate.detectable is None:
        return ["One seed shows no noise, so nothing can be decided. Run more: replicates=3."]
    needed = ""
    if found.needed_seeds and found.needed_seeds > estimate.seeds:
        needed = f" That would take about {found.needed_seeds} seeds."
    notes = [
        f"{declaration['confidence']:.0%} intervals that hold together for all arms of a metric, of the paired "
        f"difference to {estimate.baseline}, over {estimate.seeds} seeds ({_what_seeds_vary(found)}). The "
        "held-out documents are fixed: the intervals say nothing of other documents.",
        f"Residual noise of one trial: {estimate.noise:.4f} {unit} "
        + (
            f"(pooled; degrees of freedom: {estimate.degrees})."
            if estimate.pooled
            else f"(the arms' noise differs, so each pair has its own; degrees of freedom: {estimate.degrees})."
        ),
        f"Detectable at these seeds: {estimate.detectable:.4f} {unit} with {POWER:.0%} power; declared as mattering: "
        f"{effect:g}." + needed,
    ]
    if estimate.pooled and estimate.seeds < ENOUGH_SEEDS_TO_CHECK_NOISE:
        notes.append(
            f"Assumes that all arms are equally noisy, which {estimate.seeds} seeds can hardly check; a noisier arm's "
            "interval would be too narrow."
        )
    if found.results.post_hoc():
        notes.append(
            f"Post hoc ({listed(found.results.post_hoc())}): trials of these arms were scored before the lesson was "
            "declared. Words that are asked for again and again, with more seeds or another smallest effect, err more "
            "often than the intervals say; seeds that nobody has seen, e.g. seed=10,11,12, give a final one."
        )
    if found.interim:
        missing = listed([f"{arm} {share}" for arm, share in found.results.missing().items()])
        notes.append(f"Interim: trials are missing (done: {missing}), and no word is final before they are in.")
    return notes
