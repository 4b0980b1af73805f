"""The whole report: its files, its page, and records that mean harm."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from irlbench.errors import UsageError
from irlbench.reporting import report

FILES = [
    "figures/leaderboard.svg",
    "index.html",
    "leaderboard.csv",
    "leaderboard.json",
    "leaderboard.md",
]


class Page(HTMLParser):
    """What a browser would make of the page: elements with attributes, their text, balance."""

    VOID = ("meta", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "tr" in self._open and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def runs(tmp_path, record, published):
    """Two small output directories: three worlds, one failure, curves."""
    for seed in range(3):
        for task, low in (
            ("gridworld/four-rooms-v0", "random"),
            ("control/cartpole-v0", "random"),
            ("text/arithmetic-v0", "base"),
        ):
            out = tmp_path / ("a" if task.startswith("grid") else "b")
            curve = [(100, 0.2), (200, 0.6), (300, 0.8 + seed / 100)]
            published(out, record(task, "bc", seed, 0.8 + seed / 100), curve)
            published(out, record(task, low, seed, 0.01 * seed))
    published(tmp_path / "b", record("control/cartpole-v0", "gail", 0, None))
    return [tmp_path / "a", tmp_path / "b"]


def test_writes_every_file_and_says_where(runs, known, tmp_path):
    summary = report(runs, tmp_path / "out")
    assert sorted(str(f.relative_to(tmp_path / "out")) for f in summary.files) == FILES
    assert all(file.stat().st_size > 0 for file in summary.files)
    assert summary.page == tmp_path / "out" / "index.html"
    assert (summary.trials, summary.rows, summary.failed, summary.notes) == (19, 7, 1, ())
    # the folder holds nothing else, no half-written file
    there = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(there) == len(FILES)


def test_the_default_folder_is_within_the_first_directory(runs, known):
    assert report(runs).out == runs[0] / "report"
    # and it may be written again
    assert report(runs).out == runs[0] / "report"


def test_a_folder_that_cannot_be_written_is_said(runs, known, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="name another --out"):
        report(runs, tmp_path / "file" / "report")


def test_the_page_is_one_file_without_script_or_request(runs, known):
    page = Page(report(runs).page.read_text(encoding="utf-8"))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert "style" not in attributes
    assert any("default-src 'none'" in (m.get("content") or "") for m in page.all("meta"))
    for attributes in page.all("a"):
        assert not re.match(r"[a-z]+:|//", attributes["href"] or "")


def test_the_page_has_a_table_per_world_with_a_bar_per_row(runs, known):
    page = Page(report(runs).page.read_text(encoding="utf-8"))
    sections = [a["id"] for a in page.all("section")]
    assert sections == ["world-gridworld", "world-control", "world-text", "failed"]
    svgs = [a["class"] for a in page.all("svg")]
    assert svgs.count("bar") == 7
    # bc in three worlds; references and the failure have no curve
    assert svgs.count("curve") == 3
    assert all(a.get("role") == "img" for a in page.all("svg") if a["class"] != "scale")
    assert all(a.get("scope") for a in page.all("th"))


def test_the_page_shows_score_and_interval_beside_each_other(runs, known):
    page = Page(report(runs).page.read_text(encoding="utf-8"))
    bc = [row for row in page.rows if row[:2] == ["1", "bc"]]
    assert len(bc) == 3
    for row in bc:
        assert row[3].startswith("0.81") and row[4].startswith("[0.79, 0.83]")


def test_links_to_files_lead_to_files(runs, known, tmp_path):
    for out in (None, tmp_path / "elsewhere" / "deep er"):
        summary = report(runs, out)
        page = Page(summary.page.read_text(encoding="utf-8"))
        targets = [unquote(a["href"]) for a in page.all("a") if not a["href"].startswith("#")]
        assert [t for t in targets if t.endswith("log.txt")]
        for target in targets:
            assert (summary.out / target).is_file(), target
        ids = {a["id"] for _, a in page.elements if "id" in a}
        jumps = {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")}
        assert jumps <= ids


def test_failures_are_listed_with_their_error_and_log(runs, known):
    summary = report(runs)
    page = Page(summary.page.read_text(encoding="utf-8"))
    (row,) = [row for row in page.rows if row[0] == "control/cartpole-v0" and row[1] == "gail"]
    assert "ValueError: the loss is NaN" in row[3] and "b/trials/" in row[4]
    markdown = (summary.out / "leaderboard.md").read_text(encoding="utf-8")
    assert re.search(r"gail, seed 0: ValueError: the loss is NaN; log: b/trials/", markdown)


def test_an_unreadable_curve_is_in_the_notes_of_every_file(runs, known):
    path = next(p for p in sorted(runs[0].glob("trials/*/curve.parquet")) if _validates(p))
    path.write_bytes(b"no parquet")
    summary = report(runs)
    assert len(summary.notes) == 1
    for name in ("leaderboard.md", "leaderboard.json", "index.html"):
        assert path.parent.name[:12] in (summary.out / name).read_text(encoding="utf-8")


def _validates(path):
    import polars

    return polars.read_parquet(path).height > 0


def test_no_absolute_path_is_written(runs, known, tmp_path):
    summary = report(runs)
    for file in summary.files:
        assert str(tmp_path) not in file.read_text(encoding="utf-8")


SCRIPT = "</script></style></title><script>alert(1)</script><img src=x onerror=alert(2)>"
NASTY = [
    SCRIPT,
    '"><svg onload=alert(1)>',
    "=cmd|' /C calc'!A1",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "a|b\n\n# heading\n- [x](javascript:alert(1))\n![i](http://e.example/p.png)",
    "\x1b[31m\x1b]0;title\x07\u202ereversed\x00",
]


@pytest.fixture(params=NASTY, ids=range(len(NASTY)))
def nasty_report(request, tmp_path, record, published, forged, known):
    """A report over a record that holds a nasty text wherever text can stand."""
    text = request.param
    published(tmp_path / "run", record())
    forged(
        tmp_path / "run",
        record(
            f"{text}/{text}",
            text,
            track=text,
            demos=text,
            device=text,
            changed={text: text},
            config={text: text},
            references={text: {text: 0.0, "return": 0.0}, "high": {text: 1.0}},
            error={"type": text, "message": text, "traceback": text},
            data={"built": {text: text}},
            versions={text: text},
            processor=text,
            score=None,
        ),
        world=text,
        primary={"name": text, "higher_is_better": True, "low": text, "high": "high"},
    )
    return text, report([tmp_path / "run"])


def test_a_nasty_record_does_nothing_on_the_page(nasty_report):
    text, summary = nasty_report
    assert summary.rows == 2 and summary.failed == 1
    source = summary.page.read_text(encoding="utf-8")
    page = Page(source)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe"}
    assert len(page.all("style")) == 1
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    for attributes in page.all("a"):
        assert not re.match(r"[a-z]+:|//", attributes["href"] or "")
    assert not re.search("[\x00-\x08\x1b\u202e]", source)
    # it is shown, not swallowed
    visible = re.sub(r"\s+", " ", re.sub("[\x00-\x08\x1b\u202e\x07]", "�", text)).strip()
    assert visible[:20] in re.sub(r"\s+", " ", "".join(page.text))


def test_a_nasty_record_leaves_the_picture_well_formed(nasty_report):
    _, summary = nasty_report
    text = (summary.out / "figures" / "leaderboard.svg").read_text(encoding="utf-8")
    tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(text).iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "line", "g", "circle", "path"}


def test_a_nasty_record_breaks_no_markdown_table(nasty_report):
    _, summary = nasty_report
    text = (summary.out / "leaderboard.md").read_text(encoding="utf-8")
    tables: list[list[int]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            tables[-1].append(len(re.findall(r"(?<!\\)\|", line)))
        elif tables[-1]:
            tables.append([])
    assert all(len(set(table)) == 1 for table in tables if table)
    assert "<" not in text
    assert not re.search("[\x00-\x08\x1b\u202e]", text)
    assert not re.search(r"(?<!\\)\]\(", text), "a link"
    # the title, two worlds, the failures
    assert len(re.findall(r"^\s*#", text, re.MULTILINE)) == 4


def test_a_nasty_record_is_no_formula_in_csv(nasty_report):
    _, summary = nasty_report
    with (summary.out / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 3 and len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows[1:] for cell in row):
        assert not re.match(r"[=@+]|-(?![\d.])", cell)


def test_a_nasty_record_is_valid_json(nasty_report):
    text, summary = nasty_report
    document = json.loads((summary.out / "leaderboard.json").read_text(encoding="utf-8"))
    assert text in {row["algorithm"] for row in document["rows"]}


def test_importing_reports_loads_nothing_heavy():
    code = (
        "import sys, irlbench.reporting; "
        "print([m for m in ('torch', 'polars', 'pyarrow', 'scipy', 'matplotlib', 'pandas', "
        "'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_curve_is_read_once(runs, known, monkeypatch):
    from irlbench.reporting import curves

    read: list[Path] = []
    inner = curves._read

    def counted(trial):
        read.append(trial.folder)
        return inner(trial)

    monkeypatch.setattr(curves, "_read", counted)
    report(runs)
    assert len(read) == len(set(read)) == 9
