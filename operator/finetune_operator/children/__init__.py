"""What a FineTuneJob owns: how each object is built, and how it comes to exist.

job, container, volumes, placement   the batch/v1 Job of an attempt; pure
workspace   the claim of the workspace
gang        what the pods of one attempt need of each other
manifest    what all of them have in common
ensure      create an object under its fixed name, or check the one that is there
"""
