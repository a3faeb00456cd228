"""Finds near-duplicates with MinHash (Broder 1997) and locality-sensitive hashing.

Five-word shingles are used by Lee et al. (2022, for C4, threshold 0.8) and The Stack (Kocetkov et al. 2022, 0.7).
Shapes: N documents, P permutations, M documents that share a bucket with another, L compared pairs.
"""

import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

PERMUTATIONS = 128
SHINGLE_WORDS = 5
# Fraction of the pairs exactly at the threshold that are compared; above it, more.
RECALL = 0.95

_SEED = 1
_PAIRS_AT_ONCE = 1 << 12

_words = re.compile(r"\w+").findall

Rows = NDArray[np.int64]


def signature(text: str) -> NDArray[np.uint32]:
    """Return the MinHash of a text, (P,). Two signatures agree in a fraction of places that estimates the Jaccard
    similarity of the texts' shingles.

    Equal on all machines for one release of rensa. A text with fewer words than a shingle is one shingle, punctuation
    included, because so few words identify too little.
    """
    words = _words(text)
    shingles = map(" ".join, zip(*(words[offset:] for offset in range(SHINGLE_WORDS)), strict=False))
    sketch = RMinHash(PERMUTATIONS, _SEED)
    sketch.update(list(shingles) if len(words) >= SHINGLE_WORDS else [text.strip()])
    return np.array(sketch.digest(), np.uint32)


def near_duplicates(signatures_NP: NDArray[np.uint32], threshold: float) -> NDArray[np.bool_]:
    """Return which documents to remove, (N,). Of documents linked by similar pairs, the first one stays.

    Two documents are similar if their signatures agree in at least `threshold` of the places (0 < threshold <= 1) and
    completely in at least one band. A pair that is already linked is not compared. So n copies cost n comparisons per
    band; only n dissimilar documents that share a band cost n². Memory is O(N) in addition to the signatures, which may
    be a memory map: each band reads it once.
    """
    assert 0 < threshold <= 1
    rows, permutations = signatures_NP.shape
    # 0.55 * 100 is 55.00000000000001, but 55 places suffice.
    places = math.ceil(threshold * permutations - 1e-9)
    cluster_N = np.arange(rows)
    count, width = banding(threshold, permutations)
    for start in range(0, count * width, width):
        row_M, bucket_M = _shared_buckets(_keys(signatures_NP[:, start : start + width]), cluster_N)
        for left_L, right_L in _similar_pairs(signatures_NP, places, row_M, bucket_M, cluster_N[row_M]):
            cluster_N = _joined(cluster_N, left_L, right_L)
    removed_N = np.ones(rows, np.bool_)
    removed_N[np.unique(cluster_N, return_index=True)[1]] = False
    return removed_N


def banding(threshold: float, permutations: int) -> tuple[int, int]:
    """Return the number of bands and their width in places: the widest with `RECALL`, 1 − (1 − threshold^width)^count
    (Leskovec et al., Mining of Massive Datasets, section 3.4.2). Candidates are compared, so false ones only cost time.
    """
    for width in range(permutations, 1, -1):
        count = permutations // width
        if 1 - (1 - threshold**width) ** count >= RECALL:
            return count, width
    return permutations, 1


def _keys(band_NW: NDArray[np.uint32]) -> NDArray[np.uint64]:
    key_N = np.zeros(len(band_NW), np.uint64)
    for column_N in band_NW.T:
        key_N = (key_N ^ column_N) * np.uint64(0x9E3779B97F4A7C15)
        key_N ^= key_N >> np.uint64(32)
    return key_N


def _shared_buckets(key_N: NDArray[np.uint64], cluster_N: Rows) -> tuple[Rows, Rows]:
    """Return the rows in buckets with more than one cluster, bucket by bucket, and the bucket of each."""
    if not key_N.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    row_N = np.argsort(key_N, kind="stable")
    key_N = key_N[row_N]
    begins_N = np.concatenate(([True], key_N[1:] != key_N[:-1]))
    begin_B = np.flatnonzero(begins_N)
    bucket_N = np.cumsum(begins_N) - 1
    clusters_N = cluster_N[row_N]
    mixed_B = np.minimum.reduceat(clusters_N, begin_B) != np.maximum.reduceat(clusters_N, begin_B)
    mixed_N = mixed_B[bucket_N]
    return row_N[mixed_N], bucket_N[mixed_N]


def _similar_pairs(
    signatures_NP: NDArray[np.uint32], places: int, row_M: Rows, bucket_M: Rows, cluster_M: Rows
) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of similar rows, enough to link all rows of a bucket that similar pairs link.

    In each round, one row of every bucket, the leader, is compared with the bucket's rows of other clusters. Similar
    rows join its cluster, and the leader is removed. The next leader is from a different cluster, so a large cluster is
    done as soon as the few rows outside it have led. A bucket with one cluster is done.
    """
    led_M = np.full(row_M.size, -1)
    while (candidates := np.flatnonzero(cluster_M != led_M)).size:
        bucket_L, first_L = np.unique(bucket_M[candidates], return_index=True)
        leader_L = candidates[first_L]
        leads_M = np.zeros(row_M.size, np.bool_)
        leads_M[leader_L] = True
        open_M = np.isin(bucket_M, bucket_L)
        leader_M = leader_L[np.searchsorted(bucket_L, bucket_M[open_M])]
        row_of_leader_M, led_M = row_M[leader_M], cluster_M[leader_M]
        row_M, bucket_M, cluster_M = (of_M[open_M] for of_M in (row_M, bucket_M, cluster_M))

        compared = np.flatnonzero(cluster_M != led_M)
        similar = compared[_agree(signatures_NP, row_of_leader_M[compared], row_M[compared], places)]
        if similar.size:
            yield row_of_leader_M[similar], row_M[similar]
        cluster_M[similar] = led_M[similar]

        stays_M = ~leads_M[open_M]
        row_M, bucket_M, cluster_M, led_M = (of_M[stays_M] for of_M in (row_M, bucket_M, cluster_M, led_M))


def _agree(signatures_NP: NDArray[np.uint32], left_L: Rows, right_L: Rows, places: int) -> NDArray[np.bool_]:
    agree_L = np.empty(left_L.size, np.bool_)
    for start in range(0, left_L.size, _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        same_LP = signatures_NP[left_L[block]] == signatures_NP[right_L[block]]
        agree_L[block] = np.count_nonzero(same_LP, axis=1) >= places
    return agree_L


def _joined(cluster_N: Rows, left_L: Rows, right_L: Rows) -> Rows:
    clusters = int(cluster_N.max()) + 1
    links = coo_array((np.ones(left_L.size, np.int32), (cluster_N[left_L], cluster_N[right_L])), (clusters, clusters))
    return connected_components(links, directed=False)[1].astype(np.int64)[cluster_N]
