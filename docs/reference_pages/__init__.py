"""One module per page of docs/reference."""
