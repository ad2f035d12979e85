"""A real Kubernetes for tests and the demo: one or two nodes, or the control plane alone."""
