"""The networks: ResNet-18, the student (STFPM), and the frozen teacher."""
