"""From raw text to batches: documents, tokens, shards, mixture, rows."""
