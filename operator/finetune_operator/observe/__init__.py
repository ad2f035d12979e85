"""What is seen of the cluster, and how far it can be trusted.

cache         FineTuneJobs, their Jobs and pods, as last seen
kopf_watch    the watch of FineTuneJobs; the only module that imports kopf
poller        asks each running trainer for its progress
resync        lists all FineTuneJobs now and then: finds what their watch missed
consistency   reads from the API server itself before something final is done
"""
