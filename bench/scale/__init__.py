"""Many jobs at once: what they cost with the operator, beside the same work without it.

- __main__: the command line; runs scenarios for each kind of work and writes what they found.
- scenarios: what is done to a cluster, one module each.
- work: the kinds of work that are compared.
- checkout: the operator of a checkout, of this or of another revision.
- bench: a running cluster with everything that takes part, and what is done in it.
- kwok: nodes and pods without machines; a pod runs and succeeds as a trainer's does.
- trainers: what such pods answer when they are polled.
- watch: when each object appeared, and when it was done.
- meter: what was used between two moments: CPU, requests, memory, the operator's queue and loop.
- processes, lag: CPU and memory of a process; how late an event loop answers.
- figures: one measurement, and how it is named.
- results: the figures as JSON and as tables.
- page, charts: docs/performance.md and its pictures from such a JSON.
"""
