"""Decoders of the CodeGen family, with the mask algebra that says who sees whom."""
