"""AWS on one machine: moto, and our extensions where moto is silent; one concern a file."""
