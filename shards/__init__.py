"""Samples at rest and in flight: raw frames into shards, shards into ordered samples. No model code."""
