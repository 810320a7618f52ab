"""A teacher to compare the distilled one with: formula-driven supervised learning.

Kataoka et al., "Pre-training without Natural Images", ACCV 2020: a network learns to name the
category of drawn fractals. Nothing of ImageNet is in it, neither images nor weights.

    fractals.py  categories by iterated function systems, and their pictures
    recipe.py    the settings
    lessons.py   seeded batches of labelled pictures
    training.py  the classifier and its loop

Run `python -m uad.models.teacher.distillation.formula --help`. PyTorch is the extra `distill`.
"""
