"""The finetune-operator: watches FineTuneJobs and runs each as batch/v1 Jobs, one per attempt.

__main__     starts everything       workers     takes keys from the queue
reconcile    one pass over one job   decide      from the observed state to a plan; pure
policy/      the rules, pure         children/   the objects that a job owns
observe/     the observed state      kube/       the access to the API server
api/         types and constants     settings    environment variables
events, metrics/, server             the output for users and Prometheus

Where something new goes: a policy is a file in policy/ and a line in decide; a status field a field
in api/types and the change in policy/status; an exit code of the trainer a line in the table of
policy/outcome and a reason in api/constants; a child object a file in children/ and a call in
reconcile; a metric of each job a field of observe/summary and a line in metrics/job_series, another
one a line in metrics/totals or metrics/process.
"""

__version__ = "0.1.0"
