"""What this machine must have, what it has, and how it gets the rest."""
