"""Measure a running pipeline: throughput, snapshot, latency, query times, memory. It leaves millions of rows behind."""
