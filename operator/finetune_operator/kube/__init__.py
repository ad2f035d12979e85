"""What client-go is to Go: how to speak with the API server. Nothing here decides.

client            one request, and a small tree of errors
urls              the paths of the API server
informer          list and watch one kind of object
workqueue         keys to reconcile, now or later
leader_election   which of several operators works
merge_patch       the difference between two objects
"""
