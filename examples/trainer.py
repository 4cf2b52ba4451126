"""Is the validation set unseen? Asked in a script, of a pandas and a polars frame, before training begins.

usage: python trainer.py TRAIN.parquet VALIDATION.csv
"""

import sys

import pandas
import polars

import lvmfast

train = pandas.read_parquet(sys.argv[1])
validation = polars.read_csv(sys.argv[2])

report = lvmfast.leakscan(train, validation)

print(report)
if not report.passed:
    sys.exit(1)
