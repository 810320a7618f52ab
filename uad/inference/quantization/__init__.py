"""The 8-bit model: made from training images, and used only if it is as accurate as float32."""
