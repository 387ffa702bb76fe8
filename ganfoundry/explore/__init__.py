"""The browser explorer of trained networks."""
