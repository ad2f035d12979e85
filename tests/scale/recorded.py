"""What FineTuneJobs cost when this was recorded: the gate of tests/scale lets them cost no more.

To take the figures again: `python -m bench.scale --scenario one burst --jobs 300`, which prints a
table of each. Write here what is less; what is more needs a reason in the commit.
"""

ONE_ALONE = {
    "create jobs": 1,
    "create events": 1,
    "patch finetunejobs/status": 3,
    "list events": 1,  # of a Job that has no pod after 3 s: on a very busy machine
}
"""The operator's requests for one FineTuneJob in a quiet cluster: the median of some, and no more
of each verb and resource. What is not here may not be requested at all."""

ALL_CLIENTS = 21
"""Requests of all clients for it; counted were 19. Kubernetes' own controllers coalesce, too."""

IN_A_BURST = 18.0
"""Requests of all clients a job, of the four kinds of objects that a job has. Passes coalesce, more
so on a busy machine; counted were 15.7."""

CPU_OF_THE_SAME_JOBS = 2.8
"""CPU of the operator and the control plane a job, as a multiple of that of the same Jobs without
one. CPU, not time: what else the machine does makes both slower. Recorded was 2.1; runs of one
revision have differed by a third."""
