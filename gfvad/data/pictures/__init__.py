"""Pictures of videos cut into patches: read from video files or folders of images, and described by
features that tell what is there, not how bright it is alone."""
