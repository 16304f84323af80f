"""Instance metadata (IMDSv2) for the hosts."""
