"""How true are the pictures and the maps of a shapes pipeline: the parts of `scripts/evaluate_shapes.py`.

    cases         what is painted: held-out scenes, their captions, seeds, and a word that is not in the scene
    pictures      how many pictures show what was asked for, claim by claim
    recording     the maps of one picture, by layer, step and head, with the masks that the judge found; kept on disk
    selections    which layers, steps and heads a map is made of
    grounding     scores of a selection over all words, with thresholds and intervals that are not fitted to themselves
    search        which layers and heads ground best together: chosen on one half of the prompts, tested on the other
    peers         the same question put to other packages on the same pictures
    report, chart tables and a figure

Importing the package itself loads nothing.
"""
