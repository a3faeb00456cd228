"""The next steps of a corpus: finds near-duplicates among all documents, and merges each range of hashes."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.data.corpus.document import documents_of, read_table, write_documents
from ablate.data.corpus.near_duplicates import PERMUTATIONS, near_duplicates
from ablate.data.corpus.preparation_step import Advance
from ablate.data.corpus.recipe import Recipe
from ablate.data.corpus.statistics import Statistics
from ablate.files import write_json


def find_near_duplicates(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Writes the sorted hashes of the documents that are too like an earlier one."""
    recipe = Recipe.read(work)
    assert recipe.cleaning.near_duplicates is not None
    paths = _read_files(work)
    keys = pa.concat_tables(pq.read_table(path, columns=["sha256", "part", "number"]) for path in paths)
    sha256_N = np.array(keys["sha256"].to_pylist(), "S64")
    order_N = np.lexsort((keys["number"].to_numpy(), keys["part"].to_numpy()))
    # Of equal texts the first; the others go as exact duplicates.
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
        found = np.frombuffer(b"".join(column.to_pylist()), np.uint32).reshape(-1, PERMUTATIONS)
        signatures_NP[place[place >= 0]] = found[place >= 0]
    is_near_N = near_duplicates(signatures_NP, recipe.cleaning.near_duplicates)
    np.save(folder / "removed.npy", np.sort(sha256_N[kept_N][is_near_N]))
    (folder / "signatures.npy").unlink()
    advance(1)


def _read_files(work: Path) -> list[Path]:
    return sorted((work / "read").glob("[0-9]*/*.parquet"))


def merge_bucket(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Writes the documents of a range of hashes, by source and hash, each text once: where it comes first."""
    statistics = Statistics()
    table = pa.concat_tables(read_table(path, bucket=number) for path in _read_files(work))
    documents = sorted(documents_of(table), key=lambda found: (found.sha256, found.part, found.number))
    removed = _removed(work)
    kept = []
    for sha256, equal in groupby(documents, key=lambda found: found.sha256):
        first, *others = equal
        is_near = sha256.encode() in removed
        if not is_near:
            kept.append(first)
        for document, became in [(first, "near_duplicate" if is_near else first.split)] + [
            (other, "duplicate") for other in others
        ]:
            statistics.add(document.source, document.language, became, len(document.text.encode()))
    kept.sort(key=lambda found: (found.source, found.sha256))
    write_documents(folder / "documents.parquet", kept)
    write_json(folder / "statistics.json", statistics.to_json())
    advance(sum(found.part.size_bytes for found in Recipe.read(work).parts) // Recipe.read(work).buckets)


def _removed(work: Path) -> set[bytes]:
    path = work / "near" / "00000" / "removed.npy"
    return set(np.load(path).tolist()) if path.exists() else set()
