"""lm-evaluation-harness itself, with a toy task and model: its files join as they are."""

import json
import os
import subprocess
import sys

import pytest

import lvmfast
from tests.support.benchmark import benchmark, harness_samples

#: Runs the task with a model that knows the answers in `seen.json`, and half of the others.
RUN = """
import json, sys
import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

folder = sys.argv[1]
seen = json.load(open(f"{folder}/seen.json"))

class Toy(LM):
    def loglikelihood(self, requests):
        return [(0.0 if seen[r.args[0]] == r.args[1] else -1.0, False) for r in requests]
    def generate_until(self, requests):
        raise NotImplementedError
    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

tracker = EvaluationTracker(output_path=f"{folder}/out")
tasks = TaskManager(include_path=folder, include_defaults=False)
found = lm_eval.simple_evaluate(
    model=Toy(), tasks=["stones"], task_manager=tasks, bootstrap_iters=0, evaluation_tracker=tracker
)
samples = found.pop("samples")
tracker.save_results_aggregated(found, samples)
for task, rows in samples.items():
    tracker.save_results_samples(task, rows)
"""
TASK = """
task: stones
dataset_path: json
dataset_kwargs: {{data_files: {{test: {eval}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.mark.slow
def test_its_samples_join_without_an_option(tmp_path):
    pytest.importorskip("lm_eval")
    world = benchmark(tmp_path, items=200, leaked=80)
    (tmp_path / "stones.yaml").write_text(TASK.format(eval=world.eval))
    chosen = {}
    for i, item in enumerate(world.items):
        right = i in world.leaked or i % 2
        choice = item["choices"][item["answer"] if right else 1 - item["answer"]]
        chosen[f"Q: {item['question']}\nA:"] = f" {choice}"
    (tmp_path / "seen.json").write_text(json.dumps(chosen))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lvmfast.leakscan(world.train, world.eval).save(tmp_path / "report")
    (model,) = lvmfast.impact(tmp_path / "report", tmp_path / "out").content["models"]
    (joined,) = model["joined"]
    assert (joined["reader"], joined["by"]) == ("lm-evaluation-harness", "text (question)")
    assert (joined["joined"], model["metric"]) == (200, "acc")
    assert model["overall"]["leaked"]["mean"] == 1.0
    odd = [i % 2 for i in range(200) if i not in world.leaked]
    assert model["overall"]["clean"]["mean"] == pytest.approx(sum(odd) / len(odd))
    (path,) = (tmp_path / "out").rglob("samples_stones_*.jsonl")
    logged = [json.loads(line) for line in path.read_text().splitlines()]
    shape = {name: type(value) for name, value in harness_samples(world.items, [1.0] * 200)[0].items()}
    del shape["acc_norm"]
    assert {name: type(value) for name, value in logged[0].items()} == shape
