"""The learnable graph fusion operator (graph_fusion section 3)."""
