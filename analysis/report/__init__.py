"""``tutelage report``: what runs gave, as one HTML page that opens from a disk and asks the network for nothing.

collect.py        runs in groups, the data set they belong to, task affinity
curves.py         which charts of losses and metrics
classes.py        IoU by class
predictions.py    panels of validation frames; differences.py outlines, pictures.py encodes
confidence.py     pseudo-labels against the truth; pseudolabels.py shows what was found
affinity.py       the matrix of which task helps which
labelcurves.py    what pseudo-labels save, over the number of labels
provenance.py     environment, data, commands
svg.py, charts.py the charts themselves
page.py           all of it in page.html, with page.css
"""
