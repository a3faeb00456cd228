"""Which documents are kept for what they are, each judged alone."""

from dataclasses import dataclass
from typing import Literal

from ablate.data.corpus.readers.reader import RawDocument

Reason = Literal["empty", "short", "no licence stated", "licence not allowed"]


@dataclass(frozen=True)
class Filters:
    """What a document must be.

    Attributes:
        min_bytes: of UTF-8; shorter is left out.
        licences: SPDX ids, upper or lower case alike. Every licence of a document must be among them, and it must have
            one; None asks for none.
    """

    min_bytes: int
    licences: tuple[str, ...] | None

    def reason(self, document: RawDocument, size_bytes: int) -> Reason | None:
        """Why this document of `size_bytes` is left out; None keeps it. Nothing but whitespace is empty."""
        if not document.text or document.text.isspace():
            return "empty"
        if size_bytes < self.min_bytes:
            return "short"
        if self.licences is None:
            return None
        if not document.licences:
            return "no licence stated"
        allowed = {licence.casefold() for licence in self.licences}
        return None if all(licence.casefold() in allowed for licence in document.licences) else "licence not allowed"
