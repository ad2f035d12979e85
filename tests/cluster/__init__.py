"""A real Kubernetes for tests and the demo, built from source: no Docker, no kind, no downloads.

python -m tests.cluster up --gpus 4       one node on this Linux machine (Debian 12, root), 5 s
eval "$(python -m tests.cluster env)"     kubectl, helm and the kubeconfig for this shell
python -m tests.cluster load IMAGE.tar    images come from archives
python -m tests.cluster down              nothing is left behind

Tests of controllers need no node: see controlplane.py.
"""
