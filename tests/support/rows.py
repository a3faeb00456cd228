"""Rows for attention masks: document and span ids by position."""

ROWS = {
    "one document": ([1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    "prefix": ([1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]),
    "full prefix": ([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
    "two documents": ([1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0]),
    "two spans in two documents": ([1, 1, 1, 2, 2, 2], [1, 1, 0, 2, 2, 0]),
    "two spans in one segment": ([1, 1, 1, 1, 1, 1], [1, 1, 0, 2, 2, 0]),
    "padding": ([1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]),
    "documents and padding": ([1, 1, 2, 2, 2, 0], [0, 0, 0, 0, 0, 0]),
    "merged documents of a span each": ([1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 2, 2]),
}
