"""Data: layouts on disk, records, batches."""
