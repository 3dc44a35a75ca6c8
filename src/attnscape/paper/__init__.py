"""The paper as data: its settings, artifacts and claims."""
