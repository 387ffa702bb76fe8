"""The networks through which metrics look at images."""
