"""The observed state of the cluster.

cache         the last observed FineTuneJobs, Jobs and pods
kopf_watch    the watch of FineTuneJobs; the only module that imports kopf
namespaces    which namespaces are listed
queues        reads why Kueue holds the Jobs that it suspends
poller        polls each running trainer for its progress
resync        lists all FineTuneJobs periodically, to find what their watch has missed
consistency   reads from the API server before a final decision, in case the cache is stale

Jobs and pods are watched by kube/informer.
"""
