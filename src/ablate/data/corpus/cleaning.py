"""Which documents are kept, each decided on its own."""

from functools import lru_cache

from ablate.config.data import CleaningConfig
from ablate.data.corpus.contamination import Contamination
from ablate.data.corpus.readers.reader import Problem, RawDocument
from ablate.errors import FailureError


class Cleaning:
    """Decides for each document whether it is kept."""

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config
        self._contamination = _contamination(config.decontaminate)

    def __call__(self, document: RawDocument | Problem) -> RawDocument | str:
        """Return the document, or the reason why it is dropped.

        Raises:
            FailureError: a problem whose kind is not in `cleaning.skip`.
        """
        if isinstance(document, Problem):
            return self._skipped(document)
        try:
            size_bytes = len(document.text.encode())
        except UnicodeEncodeError as error:
            message = f"{document.name}: half of a surrogate pair at character {error.start}; this is not text."
            return self._skipped(Problem("not_utf8", message))
        if size_bytes > self.config.max_bytes:
            message = f"{document.name}: {size_bytes:,} bytes, more than cleaning.max_bytes={self.config.max_bytes:,}."
            return self._skipped(
                Problem("too_long", f"{message} Split it into documents, or raise cleaning.max_bytes.")
            )
        reason = drop_reason(document, size_bytes, self.config)
        if reason is None and self._contamination is not None and self._contamination.hit(document.text) is not None:
            reason = "contaminated"
        return document if reason is None else reason

    def _skipped(self, problem: Problem) -> str:
        if problem.kind in self.config.skip:
            return problem.kind
        kinds = ",".join([*self.config.skip, problem.kind])
        raise FailureError(f"{problem.message} To skip and count such documents: cleaning.skip=[{kinds}]")


def drop_reason(document: RawDocument, size_bytes: int, config: CleaningConfig) -> str | None:
    """Return why `min_bytes` or `licences` drop a document of `size_bytes` UTF-8 bytes, or None.

    A text of whitespace alone is empty. With `licences`, a document must have one, and all of its licences must be
    allowed (SPDX ids, compared without case).
    """
    if not document.text or document.text.isspace():
        return "empty"
    if size_bytes < config.min_bytes:
        return "short"
    if config.licences is None:
        return None
    if not document.licences:
        return "no licence stated"
    allowed = {licence.casefold() for licence in config.licences}
    return None if all(licence.casefold() in allowed for licence in document.licences) else "licence not allowed"


# The passages of a benchmark are built once per process.
@lru_cache
def _contamination(benchmarks: tuple[str, ...]) -> Contamination | None:
    return Contamination.of(benchmarks) if benchmarks else None
