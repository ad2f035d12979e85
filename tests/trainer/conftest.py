"""MXNet reads its settings when it is imported: before any test module does that."""

import os

from finetune_trainer import pipeline

os.environ.update(pipeline.SETTINGS)
os.environ["OMP_NUM_THREADS"] = "1"  # small networks: more threads only wait for each other
