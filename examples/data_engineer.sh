#!/bin/sh
# Training shards in a bucket, given back to the bucket without the rows that the evaluation set has.
# usage: data_engineer.sh s3://bucket/train s3://bucket/eval.parquet s3://bucket/report s3://bucket/clean
lvmfast leakscan --train "$1" --eval "$2" --out "$3" --quiet
case $? in
    0) echo "nothing leaked; $1 can be used as it is" ;;
    1) exec lvmfast clean --train "$1" --eval "$2" --report "$3" --drop train --out "$4" ;;
    *) exit 2 ;;
esac
