"""Experiments: settings, experiments, results on disk, searches for learning rates, artifacts."""
