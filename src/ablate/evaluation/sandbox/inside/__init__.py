"""Code that runs inside a sandbox. It imports the standard library alone: its source is sent to the process."""
