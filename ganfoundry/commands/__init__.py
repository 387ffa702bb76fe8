"""The commands: options, help, and one call each."""
