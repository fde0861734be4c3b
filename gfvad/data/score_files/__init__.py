"""Anybody's score files and labels: how they are read, and which ground truth they fit."""
