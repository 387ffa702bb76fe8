"""Building blocks of the architectures in extensions/."""
