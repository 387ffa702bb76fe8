"""Files of a run: states, snapshots, records, sheets, and their reading."""
