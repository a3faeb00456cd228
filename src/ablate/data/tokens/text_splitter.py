"""Cuts text inside of its tokens and writes both sides as the tokenizer itself would.

Shapes: `T` tokens of one piece, `V` entries of the vocabulary.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ablate.objectives.example import Tokens

_CONTINUES, _LEADS = 0x80, 0xC0


class TextSplitter:
    """A `TokenSplitter` of a byte-level vocabulary behind GPT-2's regex.

    That regex gives a word at most one of the spaces before it. So a pre-token begins for certain before a token that
    is one space and a visible ASCII character or more, in a whole text as in one that was cut off anywhere else; not
    so after further spaces, whose runs CodeGen counts from the first that is left. Structure, which writes nothing,
    and characters that the piece's own ends have cut off stay as they are. Only what lies between a cut and the
    nearest such *border* on either side is tokenized anew.

    Args:
        encode: text to ids.
        bytes_V: what each entry writes; nothing where it is structure.
    """

    def __init__(self, encode: Callable[[str], list[int]], bytes_V: Sequence[bytes]) -> None:
        self.encode = encode
        self.bytes_V = bytes_V
        self._characters_V = np.array([len(_begun(token)) for token in bytes_V])
        self._is_structure_V = np.array([not token for token in bytes_V])
        self._begins_word_V = np.array(
            [len(token) > 1 and token[0] == ord(" ") and ord(" ") < token[1] < 0x7F for token in bytes_V]
        )
        self._ends_in_space_V = np.array([token.endswith(b" ") for token in bytes_V])
        lines_V = [_lines_begun(token) for token in bytes_V]
        self._lines = np.array([place for lines in lines_V for place in lines], np.int64)
        self._line_count_V = np.array([len(lines) for lines in lines_V])
        self._first_line_V = np.cumsum(self._line_count_V) - self._line_count_V
        self._token_of_byte = {token[0]: index for index, token in enumerate(bytes_V) if len(token) == 1}

    def characters(self, tokens_T: Tokens) -> int:
        """How many characters begin in the tokens."""
        return int(self._characters_V[tokens_T].sum())

    def lines(self, tokens_T: Tokens) -> NDArray[np.int64]:
        """Before which characters a line begins, ascending, from 0 on: after newlines, and after structure."""
        characters_T = self._characters_V[tokens_T]
        first_T = np.cumsum(characters_T) - characters_T
        count_T = self._line_count_V[tokens_T]
        token = np.repeat(np.arange(len(tokens_T)), count_T)
        nth = np.arange(len(token)) - (np.cumsum(count_T) - count_T)[token]
        starts = first_T[token] + self._lines[self._first_line_V[tokens_T[token]] + nth]
        begun: NDArray[np.int64] = np.unique(np.append(starts[starts < characters_T.sum()], 0))
        return begun if characters_T.any() else begun[:0]

    def split(self, tokens_T: Tokens, offsets: Sequence[int] | NDArray[np.int64]) -> list[Tokens]:
        """The parts before, between and after the characters with these ascending offsets; some may be empty."""
        ends_T = np.cumsum(self._characters_V[tokens_T])
        fixed, borders = self._borders(tokens_T, ends_T)
        parts, kept_from, before, previous = [], 0, b"", (0, 0)
        for offset in offsets:
            index, byte = self._place(tokens_T, ends_T, int(offset))
            # The last border before the cut that stands without what comes after, and the first one at or after it.
            last = int(borders[np.searchsorted(borders, index + (byte >= 2 or bool(fixed[index]))) - 1])
            if last >= kept_from:
                tail = self._between(tokens_T, (last, 0), (index, byte))
                parts.append([*self._anew(before), *tokens_T[kept_from:last].tolist(), *self._anew(tail)])
            else:
                parts.append(self._anew(self._between(tokens_T, previous, (index, byte))))
            kept_from = int(borders[np.searchsorted(borders, index + (byte > 0))])
            before = self._between(tokens_T, (index, byte), (kept_from, 0))
            previous = (index, byte)
        parts.append([*self._anew(before), *tokens_T[kept_from:].tolist()])
        return [np.array(part, np.int32) for part in parts]

    def _borders(self, tokens_T: Tokens, ends_T: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each place before a token, or after the last, is a border whatever follows; and all borders."""
        is_structure_T = self._is_structure_V[tokens_T]
        fixed = np.ones(len(tokens_T) + 1, np.bool_)
        fixed[1:-1] = is_structure_T[1:] | is_structure_T[:-1]
        if len(tokens_T) and ends_T[-1]:
            fixed[np.searchsorted(ends_T, 0, side="right")] = True
            last = int(np.searchsorted(ends_T, ends_T[-1]))
            fixed[last] |= not is_structure_T[-1] and _is_unfinished(self._written(tokens_T[last:]))
        words = fixed.copy()
        words[1:-1] |= self._begins_word_V[tokens_T[1:]] & ~self._ends_in_space_V[tokens_T[:-1]]
        return fixed, np.flatnonzero(words)

    def _place(self, tokens_T: Tokens, ends_T: NDArray[np.int64], offset: int) -> tuple[int, int]:
        """The token in which a character begins, and the byte of it."""
        index = int(np.searchsorted(ends_T, offset, side="right"))
        if index == len(tokens_T):
            return index, 0
        begun = _begun(self.bytes_V[tokens_T[index]])
        return index, begun[offset - (int(ends_T[index]) - len(begun))]

    def _of_token(self, tokens_T: Tokens, index: int) -> bytes:
        return self.bytes_V[tokens_T[index]] if index < len(tokens_T) else b""

    def _written(self, tokens_T: Tokens) -> bytes:
        return b"".join([self.bytes_V[token] for token in tokens_T.tolist()])

    def _between(self, tokens_T: Tokens, first: tuple[int, int], last: tuple[int, int]) -> bytes:
        """What is written between two bytes of two tokens."""
        written = self._written(tokens_T[first[0] : last[0]]) + self._of_token(tokens_T, last[0])[: last[1]]
        return written[first[1] :]

    def _anew(self, written: bytes) -> list[int]:
        """The tokens of bytes; of a character that is cut off at either end, one for each byte."""
        if not written:
            return []
        lead = next((place for place, byte in enumerate(written) if byte & _LEADS != _CONTINUES), len(written))
        end = len(written) if not _is_unfinished(written) else _begun(written)[-1]
        return [
            *map(self._token_of_byte.__getitem__, written[:lead]),
            *(self.encode(written[lead:end].decode()) if lead < end else []),
            *map(self._token_of_byte.__getitem__, written[end:]),
        ]


def _begun(token: bytes) -> list[int]:
    """The places at which characters begin."""
    return [place for place, byte in enumerate(token) if byte & _LEADS != _CONTINUES]


def _is_unfinished(written: bytes) -> bool:
    """Whether the last character that begins lacks bytes: a lead byte from 0xC0, 0xE0, 0xF0 on has 2, 3, 4 in all."""
    for count, byte in enumerate(reversed(written[-4:]), start=1):
        if byte & _LEADS != _CONTINUES:
            return count < 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
    return False


def _lines_begun(token: bytes) -> list[int]:
    """Where lines begin, in characters from the token's first: after newlines; after structure, which has no bytes."""
    if not token:
        return [0]
    return [len(_begun(token[: place + 1])) for place, byte in enumerate(token) if byte == ord("\n")]
