"""How the embedded teacher is made: distillation on images that this package draws itself.

    fields.py    grey patterns in [0, 1]: noise, gratings, cells, lattices, weaves, strokes
    scenes.py    patterns coloured, blended, with objects laid on them
    camera.py    what cameras do to a scene: blur, noise, JPEG, gamma, vignetting, casts
    stream.py    endless seeded batches of crops, drawn in a process of its own
    network.py   ResNet-18 conv1..layer3 in PyTorch
    recipe.py    the settings and the schedule
    state.py     what a run keeps in its folder: checkpoint, loss curve, recipe
    updating.py  one step of any training: gradient, average, batch norm's statistics
    training.py  the loop
    packing.py   the result as a small safetensors file
    formula/     another teacher to compare with, which learned to tell fractals apart

Run `python -m uad.models.teacher.distillation --help`. PyTorch is the extra `distill`; the product
never imports it.
"""
