"""Splits tokens between any two characters, and encodes both sides as the tokenizer itself would.

Shapes: `T` tokens of one segment, `V` ids of the vocabulary.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ablate.objectives.example import Tokens

_CONTINUES, _LEADS = 0x80, 0xC0


class TextSplitter:
    """A `TokenSplitter` for a byte-level vocabulary after GPT-2's regex.

    That regex attaches at most one space to the word after it. So a pre-token always begins before a token of one space
    and at least one visible ASCII character, whatever text is removed elsewhere; except after more spaces, because
    CodeGen has tokens for whole runs of them. Special tokens, and characters that the ends of the segment have
    truncated, also stay as they are. Only the text between a split and the nearest such *border* on either side is
    encoded again.

    Args:
        encode: text to ids.
        bytes_V: UTF-8 bytes of each id; none for a special token.
    """

    def __init__(self, encode: Callable[[str], list[int]], bytes_V: Sequence[bytes]) -> None:
        self.encode = encode
        self.bytes_V = bytes_V
        self._characters_V = np.array([len(_character_starts(token)) for token in bytes_V])
        self._is_special_V = np.array([not token for token in bytes_V])
        self._begins_word_V = np.array(
            [len(token) > 1 and token[0] == ord(" ") and ord(" ") < token[1] < 0x7F for token in bytes_V]
        )
        self._ends_in_space_V = np.array([token.endswith(b" ") for token in bytes_V])
        lines_V = [_line_starts(token) for token in bytes_V]
        self._lines = np.array([place for lines in lines_V for place in lines], np.int64)
        self._line_count_V = np.array([len(lines) for lines in lines_V])
        self._first_line_V = np.cumsum(self._line_count_V) - self._line_count_V
        self._token_of_byte = {token[0]: index for index, token in enumerate(bytes_V) if len(token) == 1}

    def characters(self, tokens_T: Tokens) -> int:
        """Return how many characters begin in the tokens."""
        return int(self._characters_V[tokens_T].sum())

    def lines(self, tokens_T: Tokens) -> NDArray[np.int64]:
        """Return the indices of characters that begin a line: the first, and after newlines and special tokens."""
        characters_T = self._characters_V[tokens_T]
        first_T = np.cumsum(characters_T) - characters_T
        count_T = self._line_count_V[tokens_T]
        token = np.repeat(np.arange(len(tokens_T)), count_T)
        nth = np.arange(len(token)) - (np.cumsum(count_T) - count_T)[token]
        starts = first_T[token] + self._lines[self._first_line_V[tokens_T[token]] + nth]
        line_starts: NDArray[np.int64] = np.unique(np.append(starts[starts < characters_T.sum()], 0))
        return line_starts if characters_T.any() else line_starts[:0]

    def split(self, tokens_T: Tokens, offsets: Sequence[int] | NDArray[np.int64]) -> list[Tokens]:
        """Split before the characters at ascending `offsets` into len(offsets) + 1 parts; some may be empty."""
        ends_T = np.cumsum(self._characters_V[tokens_T])
        fixed, borders = self._borders(tokens_T, ends_T)
        parts, kept_from, before, previous = [], 0, b"", (0, 0)
        for offset in offsets:
            index, byte = self._place(tokens_T, ends_T, int(offset))
            # The last border before the split that holds without the text after it; below, the first at or after it.
            last = int(borders[np.searchsorted(borders, index + (byte >= 2 or bool(fixed[index]))) - 1])
            if last >= kept_from:
                tail = self._between(tokens_T, (last, 0), (index, byte))
                parts.append([*self._encoded(before), *tokens_T[kept_from:last].tolist(), *self._encoded(tail)])
            else:
                parts.append(self._encoded(self._between(tokens_T, previous, (index, byte))))
            kept_from = int(borders[np.searchsorted(borders, index + (byte > 0))])
            before = self._between(tokens_T, (index, byte), (kept_from, 0))
            previous = (index, byte)
        parts.append([*self._encoded(before), *tokens_T[kept_from:].tolist()])
        return [np.array(part, np.int32) for part in parts]

    def _borders(self, tokens_T: Tokens, ends_T: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return whether each place before a token, or the end, is a border whatever follows; and all borders."""
        is_special_T = self._is_special_V[tokens_T]
        fixed = np.ones(len(tokens_T) + 1, np.bool_)
        fixed[1:-1] = is_special_T[1:] | is_special_T[:-1]
        if len(tokens_T) and ends_T[-1]:
            fixed[np.searchsorted(ends_T, 0, side="right")] = True
            last = int(np.searchsorted(ends_T, ends_T[-1]))
            fixed[last] |= not is_special_T[-1] and _is_unfinished(self._bytes(tokens_T[last:]))
        words = fixed.copy()
        words[1:-1] |= self._begins_word_V[tokens_T[1:]] & ~self._ends_in_space_V[tokens_T[:-1]]
        return fixed, np.flatnonzero(words)

    def _place(self, tokens_T: Tokens, ends_T: NDArray[np.int64], offset: int) -> tuple[int, int]:
        """Return the token in which a character begins, and the byte in that token."""
        index = int(np.searchsorted(ends_T, offset, side="right"))
        if index == len(tokens_T):
            return index, 0
        starts = _character_starts(self.bytes_V[tokens_T[index]])
        return index, starts[offset - (int(ends_T[index]) - len(starts))]

    def _bytes(self, tokens_T: Tokens) -> bytes:
        return b"".join([self.bytes_V[token] for token in tokens_T.tolist()])

    def _between(self, tokens_T: Tokens, first: tuple[int, int], last: tuple[int, int]) -> bytes:
        """Return the bytes from one (token, byte) to another."""
        content = self._bytes(tokens_T[first[0] : last[0]]) + self._bytes(tokens_T[last[0] :][:1])[: last[1]]
        return content[first[1] :]

    def _encoded(self, content: bytes) -> list[int]:
        """Return the tokens of some bytes; a character that is truncated at either end gets one token per byte."""
        if not content:
            return []
        lead = next((place for place, byte in enumerate(content) if byte & _LEADS != _CONTINUES), len(content))
        end = len(content) if not _is_unfinished(content) else _character_starts(content)[-1]
        return [
            *map(self._token_of_byte.__getitem__, content[:lead]),
            *(self.encode(content[lead:end].decode()) if lead < end else []),
            *map(self._token_of_byte.__getitem__, content[end:]),
        ]


def _character_starts(token: bytes) -> list[int]:
    """Return the bytes at which characters begin."""
    return [place for place, byte in enumerate(token) if byte & _LEADS != _CONTINUES]


def _is_unfinished(content: bytes) -> bool:
    """Return whether the last character lacks bytes: with a lead byte from 0xC0, 0xE0, 0xF0 on it has 2, 3, 4."""
    for count, byte in enumerate(reversed(content[-4:]), start=1):
        if byte & _LEADS != _CONTINUES:
            return count < 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
    return False


def _line_starts(token: bytes) -> list[int]:
    """Return the characters of a token at which lines begin: after newlines, and after a special token."""
    if not token:
        return [0]
    return [len(_character_starts(token[: place + 1])) for place, byte in enumerate(token) if byte == ord("\n")]
