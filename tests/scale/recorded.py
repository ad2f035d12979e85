"""What FineTuneJobs cost when this was recorded: the gate of tests/scale lets them cost no more.

To take the figures again: `python -m bench.scale --scenario one burst --jobs 300`, which prints a
table of each. Write here what is less; what is more needs a reason in the commit.
"""

ONE_ALONE = {
    "create jobs": 1,
    "create events": 2,
    "patch finetunejobs/status": 4,
    "get finetunejobs": 8,
    "list pods": 1,
}
"""The operator's requests for one FineTuneJob in a quiet cluster, with nothing that coalesces: its
writes are these, its reads are no more."""

ALL_CLIENTS = 33.0
"""Requests of all clients for it, and no more."""

IN_A_BURST = 24.0
"""Requests of all clients a job, of the four kinds of objects that a job has. Passes coalesce, more
so on a busy machine; it is well above what was counted."""

CPU_OF_THE_SAME_JOBS = 3.2
"""CPU of the operator and the control plane a job, as a multiple of that of the same Jobs without
one. CPU, not time: what else the machine does makes both slower. Recorded was 2.3; runs of one
revision have differed by a third."""
