#!/bin/sh
# Do vectors of the queries, or nearly such, stand among those of the corpus?
# usage: retrieval_engineer.sh CORPUS.npy QUERIES.npy REPORT
exec lvmfast leakscan --train "$1" --eval "$2" --out "$3"
