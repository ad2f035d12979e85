"""Brings sources to this machine, and models to where they go. One file for each kind of URI.

sources        SOURCES, the table of schemes: a URI becomes a local folder
volume_source  pvc:// and file://: claims and local paths
web_source     https:// and http://: archives, retries, resumed downloads
s3_source      s3://: folders and archives of a bucket
archive        unpacks archives, once for all jobs of a workspace
member         one entry of an archive, and the refusal of an archive
tar, zip       the members of an archive, and the checks of its end
outputs        OUTPUTS, the table of schemes: where models are written
volume_output  models on a claim
s3_output      models in a bucket
s3_bucket      one bucket: requests, credentials, errors; for both directions

To add a scheme: one file here, one line in SOURCES or OUTPUTS, and the API server's rule for URIs
in contract/values.py or contract/job.py; `make render`, and a row in docs/sources.md.
"""
