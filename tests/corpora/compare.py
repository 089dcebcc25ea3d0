"""Other engines on the same statements: which tables each reads and writes. Prints the table of docs/lineage-of-sql.md.

    python3 -m venv venv && venv/bin/pip install sqlglot sqllineage openlineage_sql
    venv/bin/python tests/corpora/compare.py [../shared/corpora]

sql-insight, which is Rust, is run by `cargo +nightly -Zscript tests/corpora/sql_insight.rs`.

Counted are statements for which an engine names exactly the tables that are expected, read and written. Not part of the
tests: the engines are others' and change.
"""

import json
import logging
import pathlib
import subprocess
import sys

import openlineage_sql
import sqlglot
from sqllineage.runner import LineageRunner

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIALECTS = {"openlineage": {"ansi": "ansi"}, "sqlglot": {"ansi": None, "greenplum": "postgres", "sparksql": "spark"}}


def plain(name):
    return name.replace('"', "").replace("<default>.", "").removeprefix("public.").lower()


def openlineage(sql, dialect):
    found = openlineage_sql.parse([sql], dialect=dialect)
    if found is None or found.errors:
        raise ValueError("not understood")
    return {plain(str(t)) for t in found.in_tables}, {plain(str(t)) for t in found.out_tables}


def sqllineage(sql, dialect):
    found = LineageRunner(sql, dialect=dialect)
    return {plain(str(t)) for t in found.source_tables}, {plain(str(t)) for t in found.target_tables}


def glot(sql, dialect):
    """sqlglot has no tables of a statement: the target of a write, and every other table that is no common table."""
    read, written = set(), set()
    exp = sqlglot.exp
    for statement in sqlglot.parse(sql, dialect=DIALECTS["sqlglot"].get(dialect, dialect)):
        if statement is None:
            continue
        common = {cte.alias for cte in statement.find_all(exp.CTE)}
        targets = set()
        for write in statement.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop):
            target = write.this.find(exp.Table) if write.this is not None else None
            if target is not None:
                targets.add(id(target))
                written.add(plain(".".join(part.name for part in target.parts)))
        for table in statement.find_all(exp.Table):
            if id(table) not in targets and table.name not in common:
                read.add(plain(".".join(part.name for part in table.parts)))
    return read, written


class SqlInsight:
    """sql-insight's program: a line for each statement in, a line out."""

    def __init__(self):
        command = ["cargo", "+nightly", "-Zscript", str(ROOT / "tests/corpora/sql_insight.rs")]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, sql, dialect):
        # Not an answer is an engine's failure; not to answer is one of this comparison, and would count for every later case.
        try:
            self.program.stdin.write(json.dumps({"sql": sql, "dialect": dialect}) + "\n")
            self.program.stdin.flush()
        except BrokenPipeError:
            sys.exit(f"sql-insight's program ended with {self.program.wait()} before: {sql}")
        answer = self.program.stdout.readline()
        if not answer.endswith("\n"):
            sys.exit(f"sql-insight's program ended with {self.program.wait()} at: {sql}")
        found = json.loads(answer)
        if found is None:
            raise ValueError("not understood")
        return {plain(name) for name in found[0]}, {plain(name) for name in found[1]}


ENGINES = {"sql-insight": SqlInsight(), "openlineage-sql": openlineage, "sqlglot": glot, "sqllineage": sqllineage}


def own_cases():
    """The statements of tests/lineage/statements.sql that read or write a table, each by itself."""
    paragraphs = (ROOT / "tests/lineage/statements.sql").read_text().strip().split("\n\n")[1:]
    for paragraph in paragraphs:
        lines = paragraph.split("\n")
        statements = [line for line in lines if not line.startswith("--")]
        answers = [line for line in lines if line.startswith("--> ") and not line.startswith("-->  ")]
        assert len(statements) == len(answers), paragraph
        for sql, answer in zip(statements, answers):
            written, read = answer.split(" writes [")[1].rstrip("]").split("] reads [")
            tables = [{plain(name) for name in part.split(", ") if name} for part in (read, written)]
            if any(tables):
                yield sql, "postgres", tables[0], tables[1]


def corpus(path):
    with open(path, encoding="utf-8") as file:
        for case in map(json.loads, file):
            if case["kind"] != "table":
                continue
            sql = case.get("sql") or ";\n".join(case["sqls"])
            expect = case["expect"]
            yield sql, case["dialect"], {plain(t) for t in expect["sources"]}, {plain(t) for t in expect["targets"]}


def main():
    logging.disable()
    corpora = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "../shared/corpora"
    loads = {"our own cases": list(own_cases())}
    for name in ("sqllineage", "openlineage"):
        path = corpora / f"{name}.jsonl"
        if path.exists():
            loads[f"{name}'s cases"] = list(corpus(path))
    print("| engine | " + " | ".join(loads) + " |\n|---|" + "---:|" * len(loads))
    for name, engine in ENGINES.items():
        cells = []
        for cases in loads.values():
            right = 0
            for sql, dialect, read, written in cases:
                try:
                    right += engine(sql, dialect) == (read, written)
                except Exception:  # an engine may fail in any way: then it is not right
                    pass
            cells.append(f"{right} of {len(cases)}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
