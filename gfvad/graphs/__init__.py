"""Relationship graphs, their sparsification, expansion and jraph form (graph_fusion sections 1
and 2)."""
