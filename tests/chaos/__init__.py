"""One fleet, deployed once, and what may happen to it: `python -m tests.chaos` (`make chaos`)."""
