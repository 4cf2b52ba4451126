#!/bin/sh
# Do vectors of the queries, or nearly such, stand among those of the corpus, whose ids lie in a file beside them?
# usage: retrieval_engineer.sh CORPUS.npy IDS QUERIES.npy REPORT
exec lvmfast leakscan --train "$1" --train-ids "$2" --eval "$3" --out "$4"
