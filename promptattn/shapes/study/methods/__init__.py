"""All weighting methods compared on the shapes world: the parts of `scripts/evaluate_weighting.py`.

    cells        what is painted: methods, weights, words, and the order in which it is done
    fronts       what a method costs elsewhere where it does as much as another
    measures     what is asked of a method: response, removal, failures, many words at once
    losses       where the default is worse than another method
    advice       which method for what, from the numbers
    report, tables, figure

Importing the package itself loads nothing.
"""
