"""The report of a study that is still running, over HTTP, to this machine alone."""
