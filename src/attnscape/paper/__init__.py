"""The paper as data: its settings, recipes, artifacts and claims."""
