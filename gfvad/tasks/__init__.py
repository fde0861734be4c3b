"""What can be learnt: each folder is one task."""
