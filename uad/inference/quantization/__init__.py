"""The 8-bit model: made from training images, and kept only if it judges like float32."""
