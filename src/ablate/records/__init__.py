"""What a trial leaves behind: the ledger (truth), its log, and the W&B mirror. Knows nothing of the rest."""
