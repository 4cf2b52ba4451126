"""`lvmfast review`: its server asked by a plain client, and used in a browser."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pytest

import lvmfast
from lvmfast.report.decisions import Decisions
from lvmfast.report.saved import SavedScan
from tests.support.browser import CHROMIUM, needs_browser
from tests.support.command import LVMFAST, refused, run

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe \x1b[2J end of all of it"
)


@dataclass
class Served:
    """A running `lvmfast review`."""

    process: subprocess.Popen[str]
    port: int
    token: str
    report: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def ask(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None, *, token: bool = True
    ) -> tuple[int, Any, dict[str, str]]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"X-Lvmfast-Token": self.token} if token else {}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        client.request("GET" if body is None else "POST", path, data, sent)
        answer = client.getresponse()
        content = answer.read().decode()
        told = {name.lower(): value for name, value in answer.getheaders()}
        client.close()
        is_json = told.get("content-type", "").startswith("application/json")
        return answer.status, json.loads(content) if is_json else content, told

    def rows(self, **asked: Any) -> tuple[int, list[dict[str, Any]]]:
        status, found, _ = self.ask(f"/api/matches?{urlencode(asked)}")
        assert status == 200, found
        return found["total"], found["rows"]

    def stop(self, by: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(by)
        _, told = self.process.communicate(timeout=30)
        return self.process.returncode, told


def serve(report: Path, *options: str) -> Served:
    process = subprocess.Popen(
        [*LVMFAST, "review", str(report), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Open http://127.0.0.1:"):
            port, _, token = line.split("127.0.0.1:")[1].strip().partition("/?token=")
            return Served(process, int(port), token, report)
    raise AssertionError(process.communicate()[1])


ITEMS = [
    f"the question number {n} asks how many of the {n * 7} ships sailed on the day of the storm"
    for n in range(30)
]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    train = [
        f"page {n}. {item.upper() if n % 2 else item} and more of it {n}" for n, item in enumerate(ITEMS)
    ]
    train += [HOSTILE, ITEMS[0], "ä" * 30_000 + f" {ITEMS[1]} " + "ö" * 30_000]
    sides = {"text": train, "doc_id": [f"t{n}" for n in range(len(train))]}, {"text": [*ITEMS, HOSTILE]}
    for name, side in zip(("train", "eval"), sides, strict=True):
        rows = pa.table(side).to_pylist()
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    scan = lvmfast.leakscan(
        str(folder / "train.jsonl"), str(folder / "eval.jsonl"), levels=["text", "overlap"]
    )
    scan.save(folder / "report")
    return folder / "report"


@pytest.fixture
def served(report, tmp_path) -> Iterator[Served]:
    found = serve(report, "--decisions", str(tmp_path / "d.jsonl"))
    yield found
    if found.process.poll() is None:
        found.process.kill()
    found.process.communicate()


def test_it_filters_searches_sorts_and_pages_as_a_look_at_the_table_does(served, report):
    matches = SavedScan.open(report).matches.to_pylist()
    total, rows = served.rows(limit=200)
    assert total == len(matches) == len(rows)
    assert None not in {row["id"] for row in rows}
    key = [(row["level"], row["train_row"], row["eval_row"]) for row in matches]
    assert sorted((row["level"], row["train"]["row"], row["eval"]["row"]) for row in rows) == sorted(key)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    _, backwards = served.rows(limit=200, descending="false")
    assert [row["id"] for row in backwards] == [row["id"] for row in rows][::-1]
    paged = [row["id"] for start in range(0, total, 7) for row in served.rows(offset=start, limit=7)[1]]
    assert paged == [row["id"] for row in rows]
    for level in ("text", "overlap"):
        assert served.rows(level=level)[0] == sum(row["level"] == level for row in matches)
    wanted = "NUMBER 17 ASKS"
    found = sum(wanted.lower() in f"{row['train_text']}\n{row['eval_text']}".lower() for row in matches)
    assert served.rows(search=wanted)[0] == found > 0
    assert served.rows(search="100%_'; DROP TABLE matches; --")[0] == 0
    assert served.rows(file="train.json")[0] == total
    assert served.rows(file="nowhere")[0] == 0
    assert served.rows(benchmark="eval")[0] == total
    assert served.rows(field="question")[0] == sum(row["level"] == "overlap" for row in matches)
    low = sorted(scores)[len(scores) // 3]
    assert served.rows(min=low, max=0.99999)[0] == sum(low <= score <= 0.99999 for score in scores)
    by_row = [row["eval"]["row"] for row in served.rows(sort="eval", descending="false", limit=200)[1]]
    assert by_row == sorted(by_row)
    _, long = served.rows(search="öööö", level="overlap")
    assert long == [] or max(len(row["train"]["text"]) for row in long) <= 20_000


def test_runs_are_places_in_the_texts(served):
    for row in served.rows(level="overlap", limit=200)[1]:
        assert row["runs"]
        for begin, end, eval_begin, eval_end in row["runs"]:
            of_train = row["train"]["text"][begin - row["train"]["begin"] : end - row["train"]["begin"]]
            of_eval = row["eval"]["text"][eval_begin - row["eval"]["begin"] : eval_end - row["eval"]["begin"]]
            assert of_train.lower().split() == of_eval.lower().split()
        status, whole, _ = served.ask(f"/api/texts/{row['id']}")
        assert status == 200
        assert row["eval"]["text"] in whole["eval"]


def test_decisions_are_kept_shown_and_taken_back(served, tmp_path):
    _, rows = served.rows(limit=3)
    first, second = rows[0]["id"], rows[1]["id"]
    for match, decision, note in (
        (first, "boilerplate", "a note ⟨ä⟩"),
        (second, "unsure", None),
        (second, "real", ""),
    ):
        status, told, _ = served.ask("/api/decisions", {"id": match, "decision": decision, "note": note})
        assert (status, told) == (200, {"id": match, "decision": decision})
    assert {row["id"] for row in served.rows(decision="boilerplate")[1]} == {first}
    assert served.rows(limit=3)[1][0]["note"] == "a note ⟨ä⟩"
    read = Decisions.read(tmp_path / "d.jsonl")
    assert (read.of(first), read.of(second)) == ("boilerplate", "real")
    assert read.by_match[first].reviewer
    other = serve(served.report, "--decisions", str(tmp_path / "d.jsonl"))
    other.ask("/api/decisions", {"id": first, "decision": None, "note": None})
    assert other.stop()[0] == 130
    assert served.rows(decision="boilerplate")[0] == 0, "what another person decides shows at once"
    for wrong, said in (
        ({"id": first, "decision": "maybe"}, "expected real, boilerplate, unsure"),
        ({"id": "ab" * 16, "decision": "real"}, "no such match"),
        ({"id": None, "decision": "real"}, "nothing is known of this match"),
        ({"id": first, "decision": "real", "note": "n" * 3000}, "at most 2,000"),
        ({"id": first}, "expected one, or null"),
        ([], "expected an object"),
        (b"{", "cut off"),
        (b'{"id": 1, "decision": null}', "expected text"),
    ):
        status, told, _ = served.ask("/api/decisions", wrong)
        assert status == 400, told
        assert said in told["error"]
    assert served.ask("/api/decisions", b" " * 70_000)[0] == 413
    for wrong in (
        "limit=0",
        "limit=x",
        "offset=-1",
        "sort=id",
        "min=low",
        "descending=1",
        "who=me",
        "decision=x",
    ):
        status, told, _ = served.ask(f"/api/matches?{wrong}")
        assert (status, list(told)) == (400, ["error"])
    written = (tmp_path / "d.jsonl").read_bytes()
    (tmp_path / "d.jsonl").write_bytes(written + b"something else\n")
    status, told, _ = served.ask("/api/decisions", {"id": first, "decision": "real"})
    assert (status, "expected JSON" in told["error"]) == (400, True)
    assert (tmp_path / "d.jsonl").read_bytes() == written + b"something else\n", "what is refused is not kept"
    code, told = served.stop()
    assert code == 130
    assert f"decisions were kept in {tmp_path / 'd.jsonl'}" in told
    assert "Traceback" not in told


def test_it_answers_its_own_page_on_this_machine_alone(served):
    assert served.ask("/api/matches", token=False)[0] == 403
    assert served.ask("/", token=False)[0] == 403
    assert served.ask("/?token=wrong")[0] == 403
    assert served.ask("/api/matches", headers={"X-Lvmfast-Token": "ä"})[0] == 403
    assert served.ask("/api/matches", headers={"Host": "evil.example"})[0] == 421
    assert served.ask("/api/matches", headers={"Host": f"evil.example:{served.port}"})[0] == 421
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{served.port}", "http://127.0.0.1:1"):
        assert served.ask("/api/matches", headers={"Origin": origin})[0] == 403
    assert served.ask("/api/matches", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert served.ask("/api/matches", headers={"Origin": f"http://127.0.0.1:{served.port}"})[0] == 200
    plain = {"Content-Type": "text/plain"}
    assert served.ask("/api/decisions", {"id": "x"}, plain)[0] == 400
    assert served.ask("/api/nothing")[0] == 404
    status, html, headers = served.ask(f"/?token={served.token}", token=False)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "alert(1)" not in html, "matches come by the server alone"
    with socket.socket() as listening:
        other = socket.gethostbyname(socket.gethostname())
        if not other.startswith("127."):
            assert listening.connect_ex((other, served.port)) != 0


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_where_it_is_ended(report, tmp_path, monkeypatch, by):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    served = serve(report, "--decisions", str(tmp_path / "d.jsonl"))
    assert list(temporary.iterdir()), "it works in a folder there"
    code, told = served.stop(by)
    assert (code, "no decision was made" in told) == (130, True), told
    assert list(temporary.iterdir()) == []


def test_what_cannot_be_served_is_one_sentence(served, report, tmp_path):
    refused(run("review", str(report), "--port", str(served.port)), f"--port: {served.port}", "in use")
    refused(run("review", str(report), "--port", "70000"), "--port: expected 0 to 65535")
    refused(run("review", str(tmp_path / "none")), "no such folder; expected a report")
    refused(run("review", str(report), "--decisions", str(tmp_path / "no" / "d.jsonl")), "no such folder")
    (tmp_path / "notes.txt").write_text("my notes\n")
    refused(run("review", str(report), "--decisions", str(tmp_path / "notes.txt")), "notes.txt: line 1")
    without = "import sys; sys.modules['duckdb'] = None; from lvmfast.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "review", str(report)], capture_output=True, text=True, check=False
    )
    refused(done, "review needs duckdb: pip install 'lvmfast[review]'")


@needs_browser
def test_a_person_decides_by_keys_and_buttons(served, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(served.url)
        first = page.locator("#review article").first
        first.wait_for()
        total = served.rows()[0]
        assert f"{total} matches" in page.locator(".found").inner_text()
        first.focus()
        page.keyboard.press("2")
        first.get_by_text("Kept as boilerplate.").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("1")
        page.locator("#review article").nth(1).get_by_text("Kept as real.").wait_for()
        page.select_option("select[name=decision]", "boilerplate")
        expect(page.locator("#review article")).to_have_count(1)
        page.select_option("select[name=decision]", "")
        page.fill("input[name=search]", "onerror")
        expect(page.locator(".found")).to_contain_text("2 matches")
        assert "⟨U+202E⟩" in page.locator("#review article").first.inner_text()
        browser.close()
    assert complaints == []
    decided = {found.decision for found in Decisions.read(tmp_path / "d.jsonl").by_match.values()}
    assert decided == {"boilerplate", "real"}
