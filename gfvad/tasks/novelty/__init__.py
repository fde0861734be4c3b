"""Graph novelty: relations to a bank of normal units, fused; normal video alone."""
