"""The types of all that the operator reads and writes; pure.

types        FineTuneJob: its spec and status, the source of the CRD
trainer      the spec's `trainer` section: the pods that train
scheduling   tolerations and node affinity of these pods
validation   bounds and CEL rules of single fields
kubernetes   the parts of Kubernetes' own objects that are read
contract     the reports of a trainer: progress and the termination message
lenient      decodes these reports, field by field
constants    labels, condition types and reasons
"""
