#!/bin/sh
# Sequence files: were articles, chunks, targets or windows of the evaluation set trained on?
# usage: sequence_team.sh TRAIN.npz EVAL.npz REPORT
exec lvmfast leakscan --train "$1" --eval "$2" --out "$3"
