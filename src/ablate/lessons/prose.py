"""What a lesson says in words: the question, what each metric asks, and what the arms were trained for."""

from ablate.lessons.estimate import POWER
from ablate.lessons.lesson import Lesson

METRICS = {
    "bpb_full": "bits per byte of whole held-out passages, which every arm reads left to right, token by token: "
    "what a causal model is trained for.",
    "bpb_continuation": "bits per byte of each passage's second half, given its first half, which each arm reads in "
    "its own way (a prefix model sees it in both directions): the fair one for arms trained on prefixes.",
}


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
    notes = []
    for arm in arms.values():
        if arm.tasks != baseline.tasks:
            mix = ", ".join(f"{share:.0%} {task}" for task, share in arm.tasks.items())
            notes.append(f"{arm.label} ({mix})")
    if not notes:
        return []
    of_baseline = ", ".join(f"{share:.0%} {task}" for task, share in baseline.tasks.items())
    return [
        f"Trained for something else too: {'; '.join(notes)}; the baseline {baseline.label} is {of_baseline}. "
        "What such an arm gives up here may be the price of an ability that these metrics do not ask for "
        "(filling in a middle, reading a prefix both ways): worse here is not worse at everything."
    ]


def metric_notes(found: Lesson) -> list[str]:
    """What each metric in the table asks; less is better in all of them."""
    names = dict.fromkeys(metric.split("/")[0] for metric in found.estimates)
    return [f"`{name}`: {METRICS[name]}" for name in names if name in METRICS]


def unigram_notes(found: Lesson) -> list[str]:
    """How far the baseline is from a model without any context."""
    estimate = found.estimates.get("bpb_full")
    unigram = found.results.unigram().get(found.results.baseline)
    if estimate is None or unigram is None:
        return []
    return [
        f"A unigram model of the training mixture reaches bpb_full {unigram:.4f}; {estimate.baseline} is "
        f"{1 - estimate.baseline_mean / unigram:.1%} below it."
    ]


def certainty_notes(found: Lesson) -> list[str]:
    """How sure the table is, and what would make it surer."""
    declaration, estimate = found.results.declaration, found.primary
    if estimate is None:
        return ["No seed is complete in all arms yet: nothing to compare."]
    effect, unit = declaration["smallest_effect"], "bits per byte"
    if not estimate.differences:
        return ["One arm: nothing to compare it with. Sweep something, e.g. -m objective=causal,prefix,mixed."]
    if estimate.noise is None or estimate.detectable is None:
        return ["One seed shows no noise, so nothing can be decided. Run more: replicates=3."]
    notes = [
        f"{declaration['confidence']:.0%} intervals that hold together for all arms of a metric, of the paired "
        f"difference to {estimate.baseline}, over {estimate.seeds} seeds (initial values and order of the data). The "
        "held-out documents are fixed: the intervals say nothing of other documents.",
        f"Residual noise of one trial: {estimate.noise:.4f} {unit} "
        + (
            f"(pooled; degrees of freedom: {estimate.degrees})."
            if estimate.pooled
            else f"(the arms' noise differs, so each pair has its own; degrees of freedom: {estimate.degrees})."
        ),
        f"Detectable at these seeds: {estimate.detectable:.4f} {unit} with {POWER:.0%} power; declared as mattering: "
        f"{effect:g}." + (f" That takes {found.needed_seeds} seeds." if found.needed_seeds else ""),
    ]
    if found.interim:
        notes.append("Interim: trials are missing, and no word is final before they are in.")
    return notes
