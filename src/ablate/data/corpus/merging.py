"""The next steps of a corpus: find near-duplicates among all documents, and merge each range of hashes."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.data.corpus.document import read_documents, write_documents
from ablate.data.corpus.near_duplicates import PERMUTATIONS, near_duplicates
from ablate.data.corpus.preparation_step import Advance
from ablate.data.corpus.recipe import Recipe
from ablate.data.corpus.statistics import Statistics
from ablate.files import write_json


def find_near_duplicates(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the sorted hashes of the documents that are near-duplicates of an earlier one."""
    threshold = Recipe.read(work).cleaning.near_duplicates
    assert threshold is not None
    paths = _document_files(work)
    keys = pa.concat_tables(pq.read_table(path, columns=["sha256", "part", "number"]) for path in paths)
    sha256_N = np.array(keys["sha256"].to_pylist(), "S64")
    order_N = np.lexsort((keys["number"].to_numpy(), keys["part"].to_numpy()))
    # The first of equal texts; `merge_bucket` drops the others as exact duplicates.
    _, firsts = np.unique(sha256_N[order_N], return_index=True)
    kept_N = order_N[np.sort(firsts)]
    place_N = np.full(len(sha256_N), -1)
    place_N[kept_N] = np.arange(len(kept_N))
    signatures_NP = np.lib.format.open_memmap(folder / "signatures.npy", "w+", np.uint32, (len(kept_N), PERMUTATIONS))
    first = 0
    for path in paths:
        column = pq.read_table(path, columns=["signature"])["signature"]
        place = place_N[first : first + len(column)]
        first += len(column)
        signatures = np.frombuffer(b"".join(column.to_pylist()), np.uint32).reshape(-1, PERMUTATIONS)
        signatures_NP[place[place >= 0]] = signatures[place >= 0]
    is_near_N = near_duplicates(signatures_NP, threshold)
    np.save(folder / "removed.npy", np.sort(sha256_N[kept_N][is_near_N]))
    (folder / "signatures.npy").unlink()
    advance(1)


def _document_files(work: Path) -> list[Path]:
    return sorted((work / "read").glob("[0-9]*/*.parquet"))


def merge_bucket(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the documents of a range of hashes, sorted by source and hash. Of equal texts, the first read is kept."""
    statistics = Statistics()
    unsorted = (document for path in _document_files(work) for document in read_documents(path, bucket=number))
    documents = sorted(unsorted, key=lambda document: (document.sha256, document.part, document.number))
    removed = _near_duplicates(work)
    kept = []
    for sha256, equal in groupby(documents, key=lambda document: document.sha256):
        first, *others = equal
        is_near = sha256.encode() in removed
        if not is_near:
            kept.append(first)
        outcomes = [(first, "near_duplicate" if is_near else first.split)]
        for document, outcome in outcomes + [(other, "duplicate") for other in others]:
            statistics.add(document.source, document.language, outcome, len(document.text.encode()))
    kept.sort(key=lambda document: (document.source, document.sha256))
    write_documents(folder / "documents.parquet", kept)
    write_json(folder / "statistics.json", statistics.to_json())
    recipe = Recipe.read(work)
    advance(recipe.size_bytes // recipe.buckets)


def _near_duplicates(work: Path) -> set[bytes]:
    path = work / "near" / "00000" / "removed.npy"
    return set(np.load(path).tolist()) if path.exists() else set()
