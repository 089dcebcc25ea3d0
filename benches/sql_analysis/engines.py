"""Measures other engines on the statements of a file, one JSON string a line: rows of the benchmark's table.

    python3 -m venv venv && venv/bin/pip install sqlglot sqllineage openlineage_sql
    ENGINES_PYTHON=venv/bin/python cargo bench --bench sql_analysis
"""

import importlib
import json
import statistics
import sys
import time

LONGEST = 20.0  # seconds for each engine


def openlineage():
    sql = importlib.import_module("openlineage_sql")
    return lambda text: sql.parse([text], dialect="postgres")


def sqlglot_lineage():
    sqlglot = importlib.import_module("sqlglot")
    lineage = importlib.import_module("sqlglot.lineage")

    def analyze(text):
        statement = sqlglot.parse_one(text, dialect="postgres")
        query = statement.expression if isinstance(statement, sqlglot.exp.Insert) else statement
        if not isinstance(query, sqlglot.exp.Query):
            return
        for column in query.named_selects:
            if column != "*":
                lineage.lineage(column, query.copy(), dialect="postgres")

    return analyze


def sqllineage():
    runner = importlib.import_module("sqllineage.runner")
    return lambda text: runner.LineageRunner(text, dialect="postgres").get_column_lineage()


ENGINES = [("openlineage-sql", openlineage), ("sqlglot", sqlglot_lineage), ("sqllineage", sqllineage)]


def main():
    load, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        statements = [json.loads(line) for line in file]
    for name, make in ENGINES:
        try:
            analyze = make()
        except ImportError as error:
            print(f"| {load} | {name} | not installed: {error} | |")
            continue
        times, failed, begun = [], 0, time.perf_counter()
        for text in statements:
            start = time.perf_counter()
            try:
                analyze(text)
            except Exception:  # an engine may fail in any way; it is counted
                failed += 1
            times.append(time.perf_counter() - start)
            if time.perf_counter() - begun > LONGEST:
                break
        rate = len(times) / sum(times)
        note = f" ({failed} of {len(times)} failed)" if failed else f" ({len(times)})"
        print(f"| {load} | {name}{note}, median {statistics.median(times) * 1e6:.0f} µs | {rate:.0f} | |", flush=True)


if __name__ == "__main__":
    main()
