"""From token shards to batches: mixture, packing, order."""
