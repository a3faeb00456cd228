"""The text that a transformed piece was made from, read off its own tokens by the formats' rules."""

from ablate.objectives.example import SpecialTokens


def source_of(piece: list[int], special: SpecialTokens) -> list[int]:
    """The source of one piece; whatever the transform was."""
    rest = piece[1:] if piece[0] in special.modes else list(piece)
    opening = rest[:1] if rest[:1] == [special.end_of_text] else []
    rest = rest[len(opening) :]
    if special.separator not in rest and special.middle not in rest:
        return opening + rest
    closing = rest[-1:] if rest[-1] == special.end_of_text else []
    rest = rest[: len(rest) - len(closing)]
    assert rest[-1] == special.end_of_mask
    return opening + (of_masks(rest, special) if special.separator in rest else of_middle(rest, special)) + closing


def of_masks(rest: list[int], special: SpecialTokens) -> list[int]:
    """Of CodeGen2's format."""
    border = rest.index(special.separator)
    context, targets = rest[: border - 1], rest[border + 1 :]
    assert rest[border - 1] == special.end_of_text
    spans: dict[int, list[int]] = {}
    for token in targets:
        if token in special.masks:
            mask = token
            assert mask not in spans
            spans[mask] = []
        elif token != special.end_of_mask:
            spans[mask].append(token)
    assert [token for token in context if token in special.masks] == list(spans) == list(special.masks[: len(spans)])
    return [token for part in context for token in spans.get(part, [part])]


def of_middle(rest: list[int], special: SpecialTokens) -> list[int]:
    """Of PSM and SPM; the latter does not tell prefix from middle."""
    assert rest[0] == special.prefix
    suffix_at, middle_at = rest.index(special.suffix), rest.index(special.middle)
    prefix, suffix, middle = rest[1:suffix_at], rest[suffix_at + 1 : middle_at], rest[middle_at + 1 : -1]
    return prefix + middle + suffix
