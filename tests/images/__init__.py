"""Builds the container images with buildah, for machines without a Docker engine."""
