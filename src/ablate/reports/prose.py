"""What a lesson says in words: the question, what each metric asks, and what the arms were trained for."""

from collections.abc import Mapping, Sequence

from ablate.lessons.critical_values import POWER
from ablate.lessons.estimate import Estimate
from ablate.lessons.lesson import Lesson
from ablate.lessons.metric import metric
from ablate.lessons.variance import VarianceComponents, variance_components
from ablate.reports.noise_tables import variance_fractions

# With fewer, a baseline twice as noisy as the arms is allowed for, and more can't be seen.
ENOUGH_SEEDS_FOR_ANY_NOISE = 5
# Contrasts whose variance components are computed: each reads the documents of every trial.
MAX_VARIANCE_CONTRASTS = 8


def listed(labels: Sequence[str], most: int = 6) -> str:
    """Labels in a sentence, the first ones where they are many."""
    if len(labels) <= most:
        return ", ".join(labels)
    return f"{', '.join(labels[: most - 1])} and {len(labels) - most + 1:,} more"


def question(found: Lesson) -> str:
    """The declared question, or one made from what is swept."""
    asked = found.results.declaration.question
    if asked:
        return str(asked)
    factors = " and ".join(found.results.declaration.factors)
    if not factors:
        return "What does this one arm reach?"
    return f"Does changing {factors} change {found.results.declaration.primary_metric}?"


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
    names = dict.fromkeys(name.split("/")[0] for name in found.metrics)
    return [f"`{name}`: {metric(name).meaning}" for name in names]


def unigram_notes(found: Lesson) -> list[str]:
    """How far the baseline is from a model without any context."""
    baseline = found.results.baseline
    estimate = found.declared.get("bpb_full") or found.explored.get("bpb_full")
    unigram = found.results.unigram().get(baseline)
    if estimate is None or unigram is None or baseline not in estimate.means:
        return []
    share = 1 - estimate.means[baseline] / unigram
    place = f"{share:.1%} below it" if share > 0 else f"{-share:.1%} above it, so it has learned next to nothing"
    return [f"A unigram model of the training mixture reaches bpb_full {unigram:.4f}; {baseline} is {place}."]


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
    if found.primary is None:
        return [nothing_to_compare(found)]
    if not found.results.contrasts:
        return ["One arm: nothing to compare it with. Sweep something, e.g. -m objective=causal,prefix,mixed."]
    notes = []
    for name, estimate in found.declared.items():
        notes += _estimate_notes(found, name, estimate)
    return [*notes, *_gaps(found), *_standing(found)]


def _estimate_notes(found: Lesson, name: str, estimate: Estimate) -> list[str]:
    """What the intervals on a metric are, and what they could show."""
    declaration, unit = found.results.declaration, metric(name).unit
    if estimate.seeds == 1:
        return ["One seed shows no noise, so nothing can be decided. Run more: replicates=3."]
    if not estimate.comparisons:
        return [f"{name}: no declared comparison has all its arms."]
    if estimate.noise is None or estimate.minimum_detectable_effect is None:
        return [f"{name}: every seed gave one value, so there is no noise to compare with, and no interval."]
    looks, effect = declaration.looks, declaration.smallest_effect
    held = f"all {len(found.results.contrasts)} declared comparisons" if len(found.results.contrasts) > 1 else "it"
    held += f" and the looks at {', '.join(map(str, looks))} seeds" if len(looks) > 1 else ""
    needed = ""
    if name == found.results.primary_metric and found.needed_seeds and found.needed_seeds > estimate.seeds:
        needed = f" For that it would take about {found.needed_seeds} seeds."
    notes = [
        f"{declaration.confidence:.0%} intervals on {name}, paired by seed over {estimate.seeds} seeds "
        f"({_what_seeds_vary(found)}), hold together for {held}.",
        f"One trial's noise: {estimate.noise:.4f} {unit}."
        + ("" if estimate.correlation is None else f" Arms under one seed correlate at {estimate.correlation:.2f}.")
        + f" Detectable: {estimate.minimum_detectable_effect:.4f} with {POWER:.0%} power; declared as mattering: {effect:g}."
        + needed,
    ]
    variances = {
        comparison.contrast.name: variance
        for comparison in estimate.comparisons[:MAX_VARIANCE_CONTRASTS]
        if (variance := variance_components(found.results, comparison.contrast)) is not None
    }
    notes.append(
        _variance_note(variances, estimate.seeds)
        if variances
        else "The intervals cover other seeds on these documents; these logs keep no documents to say more."
    )
    if estimate.noise_ratio is not None and estimate.seeds < ENOUGH_SEEDS_FOR_ANY_NOISE:
        notes.append(
            f"{estimate.seeds} seeds hardly show which arms are noisier (here up to {estimate.noise_ratio:.1f} times): the "
            "intervals allow for a baseline twice as noisy as the arms, not for more."
        )
    return notes


def _variance_note(variances: Mapping[str, VarianceComponents], seeds: int) -> str:
    """What the intervals cover, with the variance components of the contrast with the largest variance."""
    name, variance = max(variances.items(), key=lambda item: item[1].total)
    seed, document, interaction = variance_fractions(variance).values()
    return (
        f"The intervals cover other seeds on these documents. With other documents too, the standard error of {name} "
        f"over {seeds} seeds would be {variance.total**0.5:.4f}, not {variance.of_seeds**0.5:.4f}: of that variance, "
        f"seeds {seed:.0%}, documents {document:.0%}, seed × document {interaction:.0%}."
    )


def _gaps(found: Lesson) -> list[str]:
    """What is not in the table."""
    results, notes = found.results, []
    if missing := results.missing():
        told = listed([f"{arm} {share}" for arm, share in missing.items()])
        notes.append(f"Interim: trials are missing (done: {told}), and no word is final before they are in.")
    if unstable := results.unstable():
        told = listed([f"{arm} {share}" for arm, share in unstable.items()])
        notes.append(f"Unstable: trials diverged ({told}); those arms are in no comparison, and in no mean.")
    for arm, seed, name in results.not_finite():
        notes.append(f"{arm}, seed {seed}: {name} is not a number, so that seed is left out of {name} for all arms.")
    for contrast in results.contrasts:
        estimate = found.declared.get(contrast.metric)
        lacking = [arm for arm in contrast.weights if estimate is None or arm not in estimate.means]
        if lacking and not set(lacking) & {*results.missing(), *results.unstable()}:
            notes.append(f"{contrast.name} can't be made: {listed(lacking)} has no {contrast.metric}.")
    return notes


def _standing(found: Lesson) -> list[str]:
    """What takes from a word's weight: when it was declared, when it was looked at, what changed since."""
    results, notes = found.results, []
    if not results.is_declared:
        notes.append(
            f"Exploratory: {results.declaration.name} was declared otherwise before (grid "
            f"{listed(results.grid.other_declarations)}). A lesson under a name of its own is a declared one: "
            "lesson.name=…, with seeds that nobody has seen."
        )
    post_hoc = [contrast.name for contrast in results.contrasts if results.is_post_hoc(contrast)]
    if post_hoc:
        notes.append(
            f"Post hoc ({listed(post_hoc)}): trials of these arms were scored before the lesson was declared. Words "
            "that are asked for again and again, with more seeds or another smallest effect, err more often than the "
            "intervals say; max_replicates adds seeds at declared looks, and seeds that nobody has seen, e.g. "
            "seed=10,11,12, give a final one."
        )
    if found.stale:
        changed = listed(list(dict.fromkeys(change for changes in found.stale.values() for change in changes)))
        notes.append(f"Stale: {len(found.stale)} trials ran with other code ({changed}). Run the grid again.")
    looks = results.declaration.looks
    later = [look for look in looks if look > results.seeds]
    if len(looks) > 1 and not results.missing():
        if found.is_decided:
            notes.append(f"Every word was in at {results.seeds} seeds" + (", so no more were added." if later else "."))
        elif later:
            notes.append(f"Not every word is in at {results.seeds} seeds; the same command looks again at {later[0]}.")
        else:
            notes.append(f"The looks are spent: {results.seeds} seeds were the most that was declared.")
    return notes
