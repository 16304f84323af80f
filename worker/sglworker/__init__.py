"""sglworker."""
