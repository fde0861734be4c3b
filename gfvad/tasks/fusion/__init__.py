"""Feature sets of videos with video labels."""
