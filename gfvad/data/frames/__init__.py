"""Videos as frames: finding, decoding and storing them, their optical flow, descriptions and
ground truth, and the clips cut from them."""
