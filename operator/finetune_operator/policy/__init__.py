"""One policy, one file: pure functions that decide uses. No I/O, no clock, no Kubernetes client."""
