"""Streams through everything that happens to a fleet: none may break."""
