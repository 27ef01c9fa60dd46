"""``tutelage report``: the results of runs as one HTML page, a single file that loads nothing from the network.

collect.py        runs in groups, the data set they belong to, task affinity
curves.py         charts of losses and metrics
classes.py        IoU by class
predictions.py    panels of validation frames; differences.py outlines, pictures.py encodes
confidence.py     quality of pseudo-labels against the truth; pseudolabels.py shows it
affinity.py       the matrix of which task helps which
labelcurves.py    labels saved by pseudo-labels, over the number of labels
provenance.py     environment, data, commands
svg.py, charts.py the charts themselves
page.py           the whole page, from page.html and page.css
"""
