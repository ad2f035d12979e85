"""Tests of finetune-operator, and the tools they share."""
