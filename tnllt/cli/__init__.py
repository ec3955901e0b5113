"""The commands, a file each: `tnllt-eval`, `tnllt-run`, `tnllt-data`, `tnllt-train`, `tnllt-board`."""
