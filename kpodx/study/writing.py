"""Write what a study found: tables, figures and one page."""

from __future__ import annotations

from pathlib import Path

from kpodx.artifacts import write_json, write_text
from kpodx.study import tables
from kpodx.study.config import StudyConfig
from kpodx.study.page import charts, render_study_page, standalone_svg
from kpodx.study.plan import StudyPlan
from kpodx.study.results import StudyResult, summarize


def summarize_and_write(study: StudyConfig, plan: StudyPlan, folder: Path) -> StudyResult:
    """Summarize the finished runs and write study.json, .md, .csv, .tex, .html and figures/*.svg into `folder`."""
    result = summarize(study, plan)
    write_json(folder / "study.json", result.document())
    write_text(folder / "study.md", tables.markdown(result))
    write_text(folder / "study.csv", tables.comma_separated(result))
    write_text(folder / "study.tex", tables.latex(result))
    write_text(folder / "study.html", render_study_page(result))
    for chart in charts(result):
        write_text(folder / "figures" / f"{chart.name}.svg", standalone_svg(chart))
    return result
