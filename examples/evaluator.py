"""What is left of a score when the items that were seen in training are left out?

usage: python evaluator.py TRAIN samples_TASK.jsonl METRIC

The samples are those of ``lm_eval --log_samples``, whose questions stand in `doc`.
"""

import json
import sys

import lvmfast

train, samples, metric = sys.argv[1:]

report = lvmfast.leakscan(train, samples, levels=["text", "overlap"])

seen = {row["row"] for row in report.matched_rows.to_pylist() if row["side"] == "eval"}
with open(samples, encoding="utf-8") as lines:
    scores = [float(json.loads(line)[metric]) for line in lines if line.strip()]
unseen = [score for row, score in enumerate(scores) if row not in seen]

print(f"{metric}: {sum(scores) / len(scores):.3f} over all {len(scores)} items")
if seen:
    left = f"{sum(unseen) / len(unseen):.3f}" if unseen else "no score"
    print(f"{metric}: {left} over the {len(unseen)} that were not seen in training")
sys.exit(0 if report.passed else 1)
