"""The trained model at work: noisy images restored, with what is known of each pixel."""
