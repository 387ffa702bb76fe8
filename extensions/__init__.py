"""Floor 3: architectures, one file each, found by the name that `--cfg` gives."""
