"""sglrouter."""
