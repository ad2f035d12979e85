"""What tests are made of. There is no test in here.

builders          FineTuneJobs, Jobs, pods and reports as the operator decodes them
api_server        a scripted API server for unit tests
scripted_cluster  such a server with one FineTuneJob
manifests         the parts of a Job that tests look at
world             one namespace of a real cluster: what a test does to it and sees in it
kubelet_world     such a namespace whose kubelet the test plays
operator_process  the operator as users run it
release           the chart installed into a control plane
admission, audit  what the API server admits; what operators have asked of it
faults/           an API server that misbehaves, and the scenarios that run against it
"""
