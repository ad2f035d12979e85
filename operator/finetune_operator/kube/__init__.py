"""The access to the API server, as client-go is for Go. Nothing here knows what a job needs.

login             the address of the API server, the credentials and the proxy
client            one request, and a small tree of errors
heartbeat         how long no request was answered
server_clock      the time, as the API server has it
urls              the paths of the API server
access            who may read the metrics
informer          list and watch one kind of object
workqueue         keys to reconcile, now or later
leader_election   the one of several operators that works
merge_patch       the difference between two objects
"""
