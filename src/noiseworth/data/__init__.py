"""Reading, packing, corrupting and opening data sets of images with a noise level each. No torch, except for drawing noise."""
