"""Reading, packing, corrupting and opening data sets of images with a noise level each.

torch is used for random draws and augmentation only.
"""
