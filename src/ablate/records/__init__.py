"""Records of trials, grids and tunings: the ledger, its logs, W&B and Optuna's studies. Imports no other room."""
