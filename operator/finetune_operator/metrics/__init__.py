"""What Prometheus scrapes. The series of a FineTuneJob end with it; no counter has a job's name.

page        Metrics: all of them, and the text of /metrics
process     of this process: requests, the work queue, the watches
totals      of the jobs together: counters and histograms of the status changes that it wrote
job_series  of each job, written as text
"""

from finetune_operator.metrics.page import Metrics

__all__ = ["Metrics"]
