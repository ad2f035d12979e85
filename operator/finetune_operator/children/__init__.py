"""The objects that a FineTuneJob owns: how each is built and created.

job, container, volumes, placement   the batch/v1 Job of an attempt; pure
workspace   the claim of the workspace
gang        the Service and the shared workspace of several pods
manifest    the parts that all manifests share
ensure      create an object under its fixed name, or check the one that is there
"""
