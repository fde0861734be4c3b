"""Tracked objects of videos: read from the files of any tracker, and described by features."""
