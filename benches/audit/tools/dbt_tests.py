"""dbt: tests that store their failures; it gives every failing key."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

from rules import KEY, REFERENCE, UNIQUE, Task, by_duckdb, by_postgres, conditions


def profile(task):
    if task.url is None:
        output = {"type": "duckdb", "path": str(task.duckdb_file()), "schema": "main", "threads": 1}
    else:
        url = urlparse(task.url)
        place = {"host": url.hostname, "port": url.port or 5432, "user": url.username, "password": url.password or "none"}
        output = {"type": "postgres", **place, "dbname": url.path.lstrip("/"), "schema": "public", "threads": 1}
    return {"bench": {"target": "bench", "outputs": {"bench": output}}}


def write_project(task, threads):
    settings = profile(task)
    settings["bench"]["outputs"]["bench"]["threads"] = threads
    (task.work / "profiles.yml").write_text(json.dumps(settings))
    project = {"name": "bench", "version": "1.0.0", "profile": "bench", "test-paths": ["tests"]}
    project["data_tests"] = {"+store_failures": True, "+schema": "failures"}
    (task.work / "dbt_project.yml").write_text(json.dumps(project))
    tests = task.work / "tests"
    tests.mkdir(exist_ok=True)
    for old in tests.glob("*.sql"):
        old.unlink()
    matches = by_postgres if task.url else by_duckdb
    for copy in range(task.copies):
        queries = {name: f"SELECT {KEY} FROM lineitem WHERE {condition}" for name, condition in conditions(copy, matches).items()}
        queries |= {"line": UNIQUE, "order": REFERENCE}
        queries["rows"] = f"SELECT n FROM (SELECT count(*) AS n FROM lineitem) AS counted WHERE n < {1 + copy}"
        for name, query in queries.items():
            (tests / f"{name}_{copy}.sql").write_text(query.replace("lineitem", table(task, "lineitem")).replace("orders", table(task, "orders")))


def table(task, name):
    return f"{'public' if task.url else 'main'}.{name}"


def failures(task):
    if task.url is None:
        import duckdb

        connection, schema = duckdb.connect(str(task.work / "tables.duckdb")), "main_failures"
    else:
        import psycopg2

        connection, schema = psycopg2.connect(task.url).cursor(), "public_failures"
    found = {}
    for test in sorted((task.work / "tests").glob("*.sql")):
        rule, copy = test.stem.rsplit("_", 1)
        if rule != "rows":
            connection.execute(f"SELECT {KEY} FROM {schema}.{test.stem}")
            found[f"{rule}-{copy}"] = [list(key) for key in connection.fetchall()]
    return found


def main():
    task = Task()
    write_project(task, len(os.sched_getaffinity(0)))
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", "--no-send-anonymous-usage-stats", "test"]
    command += ["--project-dir", str(task.work), "--profiles-dir", str(task.work)]
    status = subprocess.call(command, stdout=subprocess.DEVNULL)
    # 1: some tests fail, as they should.
    assert status == 1, f"dbt ended with {status}"
    task.tell(failures(task))


if __name__ == "__main__":
    main()
