"""Files of results: what stays in them and what goes."""

from __future__ import annotations

import harness


def test_rows_of_other_keys_stay_until_a_version_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    versions = {"torch": "1", "date": "2026-01-01"}
    monkeypatch.setattr(harness, "versions", lambda: versions)
    for model, scale, seconds in (("B", 1, 5), ("A", 4, 6), ("A", 1, 7), ("B", 1, 8)):
        here, rows = harness.put_row("epoch", {"model": model, "scale": scale, "s": seconds}, "model", "scale")
    assert here == {"torch": "1"}
    assert [(row["model"], row["scale"], row["s"]) for row in rows] == [("A", 1, 7), ("A", 4, 6), ("B", 1, 8)]

    versions["date"] = "2026-01-02"
    assert len(harness.put_row("epoch", {"model": "C", "scale": 1}, "model", "scale")[1]) == 4
    versions["torch"] = "2"
    assert harness.put_row("epoch", {"model": "C", "scale": 1}, "model", "scale")[1] == [{"model": "C", "scale": 1}]
