"""Dumps: pages counted and chosen as plain ElementTree counts them; broken and hostile files refused."""

from __future__ import annotations

import bz2
import random
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pytest

pytest.importorskip("lxml")

from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.errors import DataError
from lvmfast.ingest import dump_streams
from lvmfast.ingest.dump import Dump

NAMESPACE = "http://www.mediawiki.org/xml/export-0.10/"
SITE = (
    "<siteinfo><dbname>testwiki</dbname><namespaces><namespace key='0'/><namespace key='6'>Datei</namespace>"
    "<namespace key='14'>Kategorie</namespace></namespaces></siteinfo>"
)


def page(number, text="words", namespace=0, redirect=False, title=None):
    return (
        f"<page><title>{escape(title or f'Title {number}')}</title><ns>{namespace}</ns><id>{number}</id>"
        + ("<redirect title='x'/>" if redirect else "")
        + f"<revision><id>{number + 1000}</id><timestamp>2020-01-01T00:00:00Z</timestamp>"
        f"<contributor><id>7</id></contributor><text>{escape(text)}</text></revision></page>"
    )


def document(pages, site=SITE):
    return f'<mediawiki xmlns="{NAMESPACE}" xml:lang="de">{site}{"".join(pages)}</mediawiki>'


def titles(path, wanted=lambda *_: True):
    return [(p.index, p.page_id, p.title, p.wikitext) for p in Dump(str(path)).pages(wanted)]


def naive(text):
    """The articles of a dump by the standard library, held in memory whole."""
    found = []
    for element in ET.fromstring(text).findall(f"{{{NAMESPACE}}}page"):
        parts = {child.tag.rpartition("}")[2]: child for child in element}
        if parts["ns"].text == "0" and "redirect" not in parts:
            body = element.find(f"{{{NAMESPACE}}}revision/{{{NAMESPACE}}}text").text or ""
            found.append((len(found), int(parts["id"].text), parts["title"].text, body))
    return found


pages = st.lists(
    st.tuples(
        st.integers(1, 10**9),
        st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=40),
        st.sampled_from([0, 0, 0, 1, 14]),
        st.booleans(),
    ).map(lambda t: page(*t)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(pages, st.integers(1, 9), st.sampled_from(["plain", "one stream", "multistream", "utf-16"]))
def test_articles_are_those_of_elementtree(tmp_path_factory, pages, cut, form):
    path = tmp_path_factory.mktemp("dump") / "dump.xml.bz2"
    text = document(pages)
    if form == "plain":
        path.write_bytes(text.encode())
    elif form == "utf-16":
        path.write_bytes(text.encode("utf-16"))
    elif form == "one stream":
        path.write_bytes(bz2.compress(text.encode()))
    else:
        data = text.encode()
        step = max(1, len(data) // cut)
        path.write_bytes(b"".join(bz2.compress(data[i : i + step]) for i in range(0, len(data), step)))
    assert titles(path) == naive(text)


def test_streams_of_all_sizes_are_put_together_in_order(tmp_path, monkeypatch):
    rng = random.Random(5)
    blocks = [rng.randbytes(rng.choice([0, 1, 900, 50_000])) for _ in range(60)]
    path = tmp_path / "x.bz2"
    path.write_bytes(b"".join(map(bz2.compress, blocks)))
    for size in (1 << 10, 1 << 14, 1 << 22):
        monkeypatch.setattr(dump_streams, "_READ", size)
        assert b"".join(dump_streams.decompressed(str(path))) == b"".join(blocks)


def test_a_mark_inside_a_stream_is_no_stream(tmp_path, monkeypatch):
    """Data whose compressed form holds the mark cannot be made at will, so the mark is made a common byte."""
    import re

    monkeypatch.setattr(dump_streams, "_MARK", re.compile(rb"[AZ]"))
    data = random.Random(1).randbytes(200_000)
    path = tmp_path / "x.bz2"
    path.write_bytes(bz2.compress(data[:100_000]) + bz2.compress(data[100_000:]))
    assert b"".join(dump_streams.decompressed(str(path))) == data


def test_the_site_names_its_file_and_category_links(tmp_path):
    path = tmp_path / "dewiki-20240101-pages-articles.xml"
    path.write_text(document([page(1)]), "utf-8")
    dump = Dump(str(path))
    list(dump.pages(lambda *_: True))
    assert dump.site.database == "testwiki"
    assert dump.site.language == "de"
    assert "datei" in dump.site.files
    assert dump.site.categories == {"category", "kategorie"}
    assert dump.date == "2024-01-01"


def test_the_rest_is_left_unread_behind_the_last_index(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text(document([page(n) for n in range(1, 20)])[:-400], "utf-8")  # broken at its end
    dump = Dump(str(path))
    wanted = [p.page_id for p in dump.pages(lambda index, *_: index < 3, last_index=2)]
    assert wanted == [1, 2, 3]


def test_the_last_revision_is_the_article(tmp_path):
    path = tmp_path / "x.xml"
    both = page(1, "old").replace("</page>", "") + "<revision><id>9</id><text>new</text></revision></page>"
    path.write_text(document([both]), "utf-8")
    assert titles(path) == [(0, 1, "Title 1", "new")]


def test_a_page_of_ten_megabytes_is_read(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text(document([page(1, "word " * 2_200_000), page(2)]), "utf-8")
    assert [len(text) for *_, text in titles(path)] == [11_000_000, 5]


def test_a_page_without_text_is_an_article(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text(
        document(["<page><title>A</title><ns>0</ns><id>4</id><revision><id>5</id><text/></revision></page>"])
    )
    assert titles(path) == [(0, 4, "A", "")]


BOMB = '<!DOCTYPE mediawiki [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + document(
    [page(1)]
).replace("words", "&b;")
EXTERNAL = '<!DOCTYPE mediawiki SYSTEM "file:///etc/passwd">' + document([page(1)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "declares a document type"),
        (EXTERNAL.encode(), "declares a document type"),
        (("<?xml version='1.0'?><!-- x -->" + BOMB).encode(), "declares a document type"),
        (BOMB.encode("utf-16"), "declares a document type"),
        (f"<?xml version='1.0' encoding='utf-7'?>{document([])}".encode(), "in UTF-8"),
        (document([page(1)]).replace("words", "&b;").encode(), "XML is broken"),
        (document([page(1), page(2)])[:-30].encode(), "ends early"),
        (bz2.compress(document([page(1)] * 50).encode())[:-20], "end early"),
        (bz2.compress(b"x" * 9)[:20], "end early"),
        (b"BZh91AY&SY" + b"\0" * 90, "broken bz2"),
        (b"", "expected a MediaWiki dump"),
        (b"<html>no</html>", "expected a MediaWiki dump"),
        (
            document([page(1)]).replace("<id>1</id>", "<id>one</id>").encode(),
            "id: expected a number, got 'one'",
        ),
    ],
)
def test_broken_and_hostile_dumps_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "dump.xml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        titles(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_truncated_multistream_dump_is_refused(tmp_path):
    path = tmp_path / "dump.xml.bz2"
    whole = document([page(n) for n in range(1, 300)]).encode()
    data = b"".join(bz2.compress(whole[i : i + 5000]) for i in range(0, len(whole), 5000))
    for cut in (len(data) - 1, len(data) // 2):
        path.write_bytes(data[:cut])
        with pytest.raises(DataError, match=r"ends? early"):
            titles(path)


def test_a_missing_dump(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        titles(tmp_path / "none.xml")
