"""Artifacts beyond the paper's figures: its sentences without a figure, and later questions."""
