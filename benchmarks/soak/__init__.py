"""A soak of the router: many requests, random faults, every client outcome accounted for."""
