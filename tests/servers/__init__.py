"""Real servers that tests fetch from."""
