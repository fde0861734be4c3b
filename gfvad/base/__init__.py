"""What every part of the project stands on: errors, files, names, locks, secrets. Imports
nothing of ours."""
