"""The public package: everything that a user of this project needs."""
