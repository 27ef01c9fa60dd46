"""``tutelage curve``: how many labels pseudo-labels save, as curves of a metric over the number of labelled frames.

study.py     which networks are trained, and what is read of them when they are finished
labelcurve.py  the values by budget and seed; curve.json and curve.csv
saved.py     with how many labels the baseline would be as good: interpolation of its curve
words.py     the same as a sentence
table.py     a table for each metric
picture.py   curve.png, curve.svg

Not to be confused with the training curves of a report (analysis/report/curves.py), whose axis is the step.
"""
