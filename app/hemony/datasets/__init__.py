"""Data sets: found, decoded once, parted, and handed out in batches."""
