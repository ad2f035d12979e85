"""The pure functions that decide uses, one file for each policy. No I/O, no clock, no memory.

plan         what decide is given, and what it returns
status       the changes of a status, each with its conditions
conditions   conditions whose times move only when they change
outcome      how an attempt ended, by the trainer's exit code
backoff      when the next one starts, and what counts against backoffLimit
deadlines    clocks that run on the timestamps in the objects
diagnosis    why a pod does not start, and what to change
"""
