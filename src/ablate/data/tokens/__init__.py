"""From documents to token shards: tokenizers, shards and shards that were made elsewhere."""
