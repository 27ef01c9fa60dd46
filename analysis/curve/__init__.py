"""``tutelage curve``: how many labels pseudo-labels save, as curves of a metric over the number of labelled frames.

study.py       the networks that are trained, and the curves of their results
frames.py      whether the data set has the frames that a curve needs
values.py      which results count, and which of them may be compared
labelcurve.py  the values by budget and seed; curve.json and curve.csv
saved.py       number of labels with which the baseline would be as good, by interpolation of its curve
words.py       the same as a sentence
table.py       a table for each metric
picture.py     curve.png, curve.svg

Not to be confused with the training curves of a report (analysis/report/curves.py), whose axis is the step.
"""
