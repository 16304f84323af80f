"""sglctl."""
