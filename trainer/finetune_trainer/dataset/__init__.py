"""Turns folders of photos into a packed data set (the stage `prepare`).

Nothing here may import MXNet but `read`, which gives the packed records back to it.
"""

from finetune_trainer.dataset.prepare import prepare

__all__ = ["prepare"]
