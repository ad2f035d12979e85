"""Many jobs at once: what they cost with the operator, beside the same work without it.

- work: the kinds of work that are compared.
- kwok: nodes and pods without machines; a pod runs and succeeds as a trainer's does.
- watch: when each object appeared, and when it was done.
- processes: CPU and memory of a process.
- run: one kind of work on a cluster of its own, and its figures.
- results: the figures as JSON and as tables.
"""
