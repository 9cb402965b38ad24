"""What a prompt weight does to the image, measured: the parts of `scripts/study_weights.py`.

    cells            what is compared: places where weights act, weights, targets
    cases            what is painted: scenes of the shapes world, or prompts from a file, each with its seed
    painter          prompts to images through the public API, many in one pipeline call
    pixels, areas    measures: by colour in the shapes world; by the word's own map on any model
    store, session   results as JSON lines, written one by one, so that a run that was stopped goes on
    statistics, calibration, report, figure   what follows from them
    running, wording what its scripts share; numbers as texts
    methods          all weighting methods compared, for `scripts/evaluate_weighting.py`

Importing the package itself loads nothing.
"""
