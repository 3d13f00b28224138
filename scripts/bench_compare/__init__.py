"""Compares two result files of flexible-benchmark; scripts/compare-benchmarks.py is the command."""
