"""Floor 1: tensors, files, processes and operations."""
