"""Jobs, launchers and the scheduler that runs a source of trials."""
