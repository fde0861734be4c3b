"""Published models of normal video behind the interface of graph novelty: one file each, units in,
scores and named losses out. They are trained by the same loop on the same units, and evaluated by
the same protocols."""
