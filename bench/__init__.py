"""Benchmarks of pinlake and its peers (`make bench`). docs/benchmarks.md describes them."""
