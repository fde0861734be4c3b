"""What is measured of scores and maps, by numpy alone."""
