"""From the ledger to a lesson: a declaration, estimates with intervals, a verdict, a table and a figure."""
