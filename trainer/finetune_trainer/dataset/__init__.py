"""Turns folders of photos into a packed data set (the stage `prepare`).

Nothing here may import MXNet but `reader`, which gives the packed records back to it.
"""
