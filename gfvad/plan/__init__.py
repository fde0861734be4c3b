"""What a training needs of accelerators that are not here: compiled for them, and counted."""
