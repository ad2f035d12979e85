"""Process 1 of a pod: it runs the stages in child processes and survives them. Never loads MXNet.

pod          settings from the environment; writes the termination message
roles        the stages that a pod runs: train, prepare, or follow a leader
supervisor   runs the stages; raises if one fails, stalls or is interrupted
child        one child process: its output, its reports, its end
run_status   the status of the run, for HTTP, display and stall check
estimate     overall progress and remaining time
http         /progress, /metrics, /healthz
metrics      what /metrics says
gpus         memory and utilization of the GPUs
gang         the other pods of a gang: joining, heartbeats, a lost pod
connection   a TCP connection between two of them
termination  exit code and termination message

To add a role: one Role in roles and one case in `choose`.
"""
