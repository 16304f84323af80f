"""What routers do in the situations that hurt: the same scenarios against each."""
