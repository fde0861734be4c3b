"""The next frame and description, learnt from normal video."""
