"""What becomes of the clients of a data process that dies: those it owes no rest of an answer
are taken over by another, with what they have sent (docs/decisions/0023)."""
