"""Floor 0: registry, typed configs, files and logs. Standard library and numpy only."""
