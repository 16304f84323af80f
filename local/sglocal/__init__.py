"""sglocal."""
