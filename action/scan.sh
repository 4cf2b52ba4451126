#!/usr/bin/env bash
# Scans with the inputs of the action, which come as environment variables, and ends with the code of the scan.
set -euo pipefail

arguments=()

# Adds an option for each line of a list.
each() {
    local option=$1 line
    while IFS= read -r line; do
        line=${line%$'\r'}
        [ -z "${line// /}" ] || arguments+=(${option:+"$option"} "$line")
    done <<<"$2"
}

each --train "$TRAIN"
each --eval "${EVAL:-}"
each --benchmark "${BENCHMARK:-}"
each --levels "${LEVELS:-}"
each "" "${ARGUMENTS:-}"
OUT=${OUT:-lvmfast-report}

# A report of an earlier scan must not be taken for that of this one.
rm -f "$OUT/summary.json"
code=0
lvmfast leakscan "${arguments[@]}" --out "$OUT" --format github 2>"$RUNNER_TEMP/lvmfast.log" || code=$?
tee -a "$GITHUB_STEP_SUMMARY" <"$RUNNER_TEMP/lvmfast.log" >&2

if [ ! -f "$OUT/summary.json" ]; then
    echo "::error title=lvmfast leakscan::The scan could not be carried out; the log of this step says why."
    exit "$code"
fi
python - "$OUT" >>"$GITHUB_OUTPUT" <<'END'
import json, sys
with open(f"{sys.argv[1]}/summary.json", encoding="utf-8") as file:
    print(f"verdict={json.load(file)['verdict']}\nreport={sys.argv[1]}")
END
if [ -f "$OUT/matches.parquet" ]; then # which a scan that is not at its end does not have yet
    [ -z "${SARIF:-}" ] || lvmfast report "$OUT" --format sarif >"$SARIF"
    [ -z "${JUNIT:-}" ] || lvmfast report "$OUT" --format junit >"$JUNIT"
fi
exit "$code"
