"""The decoder-only control, built from the same layers as DeepSight."""
