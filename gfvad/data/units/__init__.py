"""Where units come from: the layouts of sets of videos, each with its feature sets."""
