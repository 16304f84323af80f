"""Discrete-event simulation of workers, routers and clients, for `policy_sim`."""
