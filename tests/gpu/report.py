#!/usr/bin/env python3
"""What tests/gpu/run.sh found, as gpu.json and gpu.md in the folder of its results.

    report.py OUT [FAILED PART ...]
"""
import datetime
import json
import pathlib
import subprocess
import sys


def read(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def count_tests(found):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for suite in found["testsuites"]:
        for test in suite["testsuite"]:
            key = "skipped" if test.get("result") == "SKIPPED" else "failed" if test.get("failures") else "passed"
            counts[key] += 1
    return counts


def main():
    out, failed = pathlib.Path(sys.argv[1]), sys.argv[2:]
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    info = read(out / "info.json") or {}
    device = next((v["hardware"] for k, v in info.get("devices", {}).items() if k.startswith("cuda:")), "no GPU")
    result = {"schema": "nanochat-gpu-1", "date": datetime.date.today().isoformat(), "commit": commit, "device": device,
              "failed_parts": failed, "info": info,
              "tests": {p.stem.removeprefix("tests_"): count_tests(read(p)) for p in sorted(out.glob("tests_*.json")) if read(p)},
              "bench": {p.stem.removeprefix("bench_"): read(p) for p in sorted(out.glob("bench_*.json"))},
              "torch": read(out / "torch.json")}
    (out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = [f"## {device}, {result['date']}, commit {commit}", "", "| tests | passed | failed | skipped |",
             "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {c['passed']} | {c['failed']} | {c['skipped']} |" for name, c in result["tests"].items()]
    lines += ["", "| benchmark | figures |", "| --- | --- |"]
    for name, facts in result["bench"].items():
        shown = facts or {"": "no result"}
        cells = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items()
                 if isinstance(v, (int, float, str)) and not isinstance(v, bool)]
        lines.append(f"| {name} | {', '.join(cells)} |")
    for name, value in (result["torch"] or {}).items():
        lines.append(f"| PyTorch: {name} | {value:.4g} |" if isinstance(value, float) else f"| PyTorch: {name} | {value} |")
    if failed:
        lines += ["", "Failed parts: " + ", ".join(failed)]
    (out / "gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
