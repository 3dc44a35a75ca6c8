"""Workflows: reproducing the paper, ranking optimizers, searching for learning rates."""
