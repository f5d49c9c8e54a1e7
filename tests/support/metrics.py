"""What mintfsd tells at its admin listener, read by Prometheus's own Python parser and then held to its rules."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

_NAME = re.compile(r"(mintfs|process)_[a-z_]+")
_LINE = re.compile(r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})? \S+')
#: Every label that there may be.
LABELS = {"connector", "operation", "reason", "version", "le"}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """All samples by name and labels, after what `promtool check metrics` would look at was looked at."""
    assert text.endswith("\n")
    for line in text.splitlines():
        assert _LINE.fullmatch(line), line
    samples: Samples = {}
    seen: set[str] = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in seen, f"{family.name} is told twice"
        seen.add(family.name)
        assert _NAME.fullmatch(family.name) and family.documentation and family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, sample
            assert family.type != "counter" or sample.name.endswith("_total"), sample
            assert family.type == "counter" or not sample.name.endswith("_total"), sample
            assert sample.value >= 0
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, f"{key} is told twice"
            samples[key] = sample.value
        if family.type == "histogram":
            _check_histogram(family.name, samples)
    return samples


def _check_histogram(name: str, samples: Samples) -> None:
    buckets: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
    for (sample, labels), value in samples.items():
        if sample == f"{name}_bucket":
            bound = dict(labels)["le"]
            rest = frozenset(label for label in labels if label[0] != "le")
            buckets.setdefault(rest, []).append((float(bound), value))
    for labels, found in buckets.items():
        bounds, counts = zip(*sorted(found))
        assert bounds[-1] == float("inf") and list(counts) == sorted(counts), (name, labels)
        assert samples[(f"{name}_count", labels)] == counts[-1]
        assert (f"{name}_sum", labels) in samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """Zero where there is no such sample."""
    return samples.get((name, frozenset(labels.items())), 0)


def labels_of(samples: Samples, label: str) -> set[str]:
    return {value for _, labels in samples for key, value in labels if key == label}
