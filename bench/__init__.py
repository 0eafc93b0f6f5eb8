"""`make bench`: pinlake and its peers on the same files in one run. docs/performance.md has what it showed."""
