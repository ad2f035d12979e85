"""The pure functions that decide uses, one file for each policy. No I/O, no clock, no memory.

plan         the input and the output of decide
status       the changes of a status, each with its conditions
conditions   conditions whose times move only when they change
outcome      the end of an attempt, by the trainer's exit code
node_faults  the ends that the kubelet or the container runtime caused
backoff      the wait before the next one, and the ends that count against backoffLimit
deadlines    clocks that run on the timestamps in the objects
diagnosis    why a pod does not start
hints        advice on what to change
finalizers   what keeps an object that is being deleted
"""
