"""The four commands, a file each: `tnllt-eval`, `tnllt-run`, `tnllt-data`, `tnllt-train`."""
