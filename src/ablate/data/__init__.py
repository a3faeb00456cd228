"""From raw text to batches: `corpus` (documents), `tokens` (shards), `batches` (what a training step reads)."""
