"""Published models behind the interface of this project's own: one file each, features and mask in,
scores and named losses out. They are trained by the same loop on the same data, and evaluated by
the same protocols."""
