"""Results of the endpoint tests: a table, JSON, JUnit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal
from xml.etree import ElementTree

Status = Literal["passed", "failed", "skipped"]
_MARK: dict[str, str] = {"passed": "PASS", "failed": "FAIL", "skipped": "SKIP"}


@dataclass(frozen=True)
class CheckResult:
    """One check. `detail` says what was seen (passed), wrong (failed) or missing (skipped)."""

    name: str
    status: Status
    detail: str
    seconds: float


@dataclass(frozen=True)
class Report:
    url: str
    model: str
    results: tuple[CheckResult, ...]

    def count(self, status: Status) -> int:
        return sum(r.status == status for r in self.results)

    @property
    def passed(self) -> bool:
        """True when nothing failed and something was checked."""
        return self.count("failed") == 0 and self.count("passed") > 0

    def summary(self) -> str:
        return (
            f"{self.count('passed')} passed, {self.count('failed')} failed, "
            f"{self.count('skipped')} skipped"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "model": self.model,
            "passed": self.passed,
            "results": [asdict(r) for r in self.results],
        }

    def to_text(self) -> str:
        width = max((len(r.name) for r in self.results), default=0)
        rows = [
            f"{_MARK[r.status]}  {r.name:{width}}  {r.seconds:6.2f} s  {r.detail}"
            for r in self.results
        ]
        head = f"Endpoint tests of {self.url}, model {self.model or '(none)'}"
        return "\n".join([head, *rows, self.summary()])

    def junit_suite(self) -> ElementTree.Element:
        suite = ElementTree.Element(
            "testsuite",
            name=f"sglctl test {self.model}".strip(),
            tests=str(len(self.results)),
            failures=str(self.count("failed")),
            skipped=str(self.count("skipped")),
        )
        for result in self.results:
            case = ElementTree.SubElement(
                suite, "testcase", name=result.name, time=f"{result.seconds:.3f}"
            )
            if result.status == "failed":
                ElementTree.SubElement(case, "failure", message=result.detail)
            elif result.status == "skipped":
                ElementTree.SubElement(case, "skipped", message=result.detail)
        return suite


@dataclass(frozen=True)
class Reports:
    """Reports of several models."""

    reports: tuple[Report, ...]

    @property
    def passed(self) -> bool:
        return bool(self.reports) and all(report.passed for report in self.reports)

    def summary(self) -> str:
        return "; ".join(f"{report.model}: {report.summary()}" for report in self.reports)

    def to_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "reports": [report.to_json() for report in self.reports]}

    def to_text(self) -> str:
        return "\n\n".join(report.to_text() for report in self.reports)

    def to_junit(self) -> str:
        """JUnit XML: a suite a model, a test case a check."""
        root = ElementTree.Element("testsuites")
        root.extend(report.junit_suite() for report in self.reports)
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
