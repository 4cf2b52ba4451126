#!/bin/sh
# Were benchmark questions part of the chats that a model is tuned on?
# usage: fine_tuner.sh CHATS QUESTIONS REPORT
exec lvmfast leakscan --train "$1" --eval "$2" --out "$3"
