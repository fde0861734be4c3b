"""From video files to features of snippets: reading, units of 16 frames, encoders by name, the
job over many files."""
