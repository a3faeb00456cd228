"""The built-in suites, one module each."""
