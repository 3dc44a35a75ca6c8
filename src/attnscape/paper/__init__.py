"""The paper as data: its settings, the two recipes, its artifacts and its claims."""
