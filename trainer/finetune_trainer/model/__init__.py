"""Pretrained networks: the catalogue, their weights as MXNet files, and the new last layer."""
