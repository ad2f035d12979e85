"""The things that every stage uses: its input, its reports, and files that survive a crash.

context       Run and Paths: the one argument of a stage
gang          the place of this pod in its gang
handoff       the files by which one stage hands its work on to the next
reporter      the reports of a stage to the supervisor
signals       requests to stop
failure       any exception as an error of the contract
files         files and directories that are whole or absent
owner         the fence against an earlier pod of the same job
prune         what of a workspace no job needs any more
history       history.csv: one row for each epoch
cgroup        CPUs and memory of the container
threads       the division of CPUs between MXNet and OpenMP
hidden_files  names that are not photos

To hand on something new: one Struct and one file name in handoff.
"""
