"""Writing the results of a run: journal, staging, and folders on disk or in an object store."""
