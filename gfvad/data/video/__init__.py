"""Former `python -m gfvad.data.video.describe`."""
