"""The same rules in other tools, in turns with blast-radius, on the tables that `PREPARE=1 cargo bench --bench audit` wrote.

    python benches/audit/others.py FOLDER BLAST_RADIUS [--runs 5] [--copies 1,20] [--cores 1,2] [--postgres URL]
        [--soda PYTHON] [--gx PYTHON] [--dbt PYTHON] [--pointblank PYTHON]

Prints one line for each tool, number of rules and number of cores: median and best of the runs in seconds, peak memory in MB.
Every tool gives every failing key, and the keys are compared with the known ones; Soda tells how many rows fail, and the
numbers are compared. FOLDER is a `scale-N` folder. With --postgres the tables are loaded into that database first, where
they are missing. The other tools are taken where a Python that has them is named; they are measured with the start of that
Python, as their users start them. `benches/audit/run` does all of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "tools"))
from rules import KEY, REFERENCE, UNIQUE, by_duckdb, by_postgres, conditions  # noqa: E402

# Script, whether it takes files, whether it takes a server, and how many copies of the rules it is worth waiting for.
OTHERS = {
    "soda": ("soda_contract.py", True, True, 20),
    "gx": ("gx.py", False, True, 1),
    "dbt": ("dbt_tests.py", True, True, 1),
    "pointblank": ("pointblank_plan.py", True, False, 20),
}


def separate(query, copies, matches):
    """A query for each rule, as everybody writes them first."""
    found = {}
    for copy in range(copies):
        for name, condition in conditions(copy, matches).items():
            found[f"{name}-{copy}"] = query(f"SELECT {KEY} FROM lineitem WHERE {condition}")
        found[f"line-{copy}"] = query(UNIQUE)
        found[f"order-{copy}"] = query(REFERENCE)
        query("SELECT count(*) FROM lineitem")
    return found


def one_pass(query, copies, matches):
    """One query for all rules about a row; what does not depend on the copy is asked once."""
    names, breaches = [], []
    for copy in range(copies):
        for name, condition in conditions(copy, matches).items():
            names.append(f"{name}-{copy}")
            breaches.append(f"({condition})")
    flags = ", ".join(f"{condition} AS c{place}" for place, condition in enumerate(breaches))
    found = {name: [] for name in names}
    for row in query(f"SELECT {KEY}, {flags} FROM lineitem WHERE {' OR '.join(breaches)}"):
        for name, flag in zip(names, row[2:]):
            if flag:
                found[name].append(row[:2])
    line, order = query(UNIQUE), query(REFERENCE)
    query("SELECT count(*) FROM lineitem")
    for copy in range(copies):
        found[f"line-{copy}"], found[f"order-{copy}"] = line, order
    return found


def duckdb_query(folder, cores):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {cores}; SET memory_limit = '6GB'; SET temp_directory = '{folder}/spill'")
    for table in ["lineitem", "orders"]:
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{folder}/data/{table}.parquet')")
    return lambda sql: connection.execute(sql).fetchall()


def postgres_query(url):
    import psycopg

    connection = psycopg.connect(url)
    return lambda sql: connection.execute(sql).fetchall()


def check(found, expected, copies):
    for copy in range(copies):
        for rule, keys in expected.items():
            listed = found[f"{rule}-{copy}"]
            if isinstance(listed, int):
                # Who only counts tells how many rows are too many of those that are alike.
                known = len(keys) // 2 if rule == "line" else len(keys)
                assert listed == known, f"{rule}-{copy}: {listed} counted, {known} known"
                continue
            listed = sorted(tuple(int(part) for part in key) for key in listed)
            assert listed == [tuple(key) for key in keys], f"{rule}-{copy}: {len(listed)} listed, {len(keys)} known"


def other(python, script, folder, copies, url):
    """Another tool, as its users start it."""
    answer = folder / f"{Path(script).stem}.json"
    answer.unlink(missing_ok=True)
    environment = {**os.environ, "SODA_CORE_TELEMETRY_ENABLED": "false", "PYTHONWARNINGS": "ignore"}
    command = [python, str(Path(__file__).parent / "tools" / script), str(folder), str(copies), url or "-", str(answer)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads(answer.read_text())


def blast_radius(arguments, project, copies, expected):
    records = project / "violations.ndjson"
    command = [arguments.program, "-q", "-C", str(project), "audit", "--format", "prometheus"]
    status = subprocess.call(command + ["-o", str(project / "report.txt"), "--records", str(records)])
    assert status == 1, f"{command} ended with {status}"
    found = {f"{rule}-{copy}": [] for rule in expected for copy in range(copies)}
    with open(records, encoding="utf-8") as lines:
        for violation in map(json.loads, lines):
            key = violation["key"]
            found[violation["rule"]].append((key["l_orderkey"], key["l_linenumber"]))
    return found


class ToolFailed(Exception):
    """A tool that did not run, or that did not find what is known."""


def measured(work):
    """Runs the work in a process of its own: seconds without its start, and its peak memory in MB, its children's included."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        started = time.perf_counter()
        try:
            work()
            os.write(writing, str(time.perf_counter() - started).encode())
        except BaseException as error:  # told by the parent
            os.write(writing, f"failed: {error}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    usage = os.wait4(child, 0)[2]
    if told.startswith("failed"):
        raise ToolFailed(told)
    return float(told), usage.ru_maxrss / 1024


def load(arguments):
    """The tables in PostgreSQL, as an application would have them: keys without indexes beyond what the faults allow."""
    import duckdb
    import psycopg

    with psycopg.connect(arguments.postgres, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('public.lineitem')").fetchone()[0]:
            return
        source = duckdb.connect()
        for table in ["orders", "lineitem"]:
            path = arguments.folder / "data" / f"{table}.parquet"
            described = source.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
            kinds = {"BIGINT": "bigint", "INTEGER": "integer", "VARCHAR": "text", "DATE": "date"}
            columns = ", ".join(f"{name} {kinds.get(kind, kind.replace('DECIMAL', 'numeric'))}" for name, kind, *_ in described)
            connection.execute(f"CREATE TABLE {table} ({columns})")
            csv = arguments.folder / f"{table}.csv"
            source.execute(f"COPY (SELECT * FROM '{path}') TO '{csv}' (FORMAT csv, HEADER false)")
            with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy, open(csv, "rb") as rows:
                while piece := rows.read(1 << 20):
                    copy.write(piece)
            csv.unlink()
        connection.execute("ALTER TABLE orders ADD PRIMARY KEY (o_orderkey)")
        connection.execute("VACUUM ANALYZE")


def tools_of(arguments, copies, cores, expected):
    """What is run in turns, by its name."""
    url, folder = arguments.postgres, arguments.folder
    project = folder / f"rules-{copies}"
    if url:
        server = folder / f"server-{copies}"
        server.mkdir(exist_ok=True)
        (server / "rules.yaml").write_text((project / "rules.yaml").read_text())
        settings = (project / "blast-radius.toml").read_text()
        (server / "blast-radius.toml").write_text(settings.replace('files = "../data"', f'url = "{url}"'))
        tools = {
            "blast-radius": lambda: blast_radius(arguments, server, copies, expected),
            "SQL, query by query": lambda: separate(postgres_query(url), copies, by_postgres),
            "SQL, one pass": lambda: one_pass(postgres_query(url), copies, by_postgres),
        }
    else:
        tools = {
            "blast-radius": lambda: blast_radius(arguments, project, copies, expected),
            "DuckDB, query by query": lambda: separate(duckdb_query(folder, cores), copies, by_duckdb),
            "DuckDB, one pass": lambda: one_pass(duckdb_query(folder, cores), copies, by_duckdb),
        }
    for name, (script, takes_files, takes_server, most) in OTHERS.items():
        python = getattr(arguments, name)
        if python and (takes_server if url else takes_files) and copies <= most:
            tools[name] = lambda python=python, script=script: other(python, script, folder, copies, url)
    return tools


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("program")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--copies", default="1,20")
    parser.add_argument("--cores", default="1,2")
    parser.add_argument("--postgres")
    for name in OTHERS:
        parser.add_argument(f"--{name}", metavar="PYTHON")
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    expected = json.loads((arguments.folder / "expected.json").read_text())
    if arguments.postgres:
        load(arguments)
    for copies in map(int, arguments.copies.split(",")):
        for cores in map(int, arguments.cores.split(",")):
            tools = tools_of(arguments, copies, cores, expected)
            os.sched_setaffinity(0, sorted(range(os.cpu_count()))[:cores])
            took = {tool: [] for tool in tools}
            for run in range(arguments.runs):
                for tool, work in list(tools.items()):
                    # The keys are compared once, outside of what is measured.
                    if run == 0:
                        try:
                            measured(lambda: check(work(), expected, copies))
                        except ToolFailed as error:
                            print(f"{copies * 13:5} rules, {cores} core(s), {tool:24} {error}", flush=True)
                            if tool == "blast-radius":
                                raise SystemExit(1) from error
                            del tools[tool]
                            continue
                    took[tool].append(measured(work))
            for tool, runs in took.items():
                if not runs:
                    continue
                seconds = [seconds for seconds, _ in runs]
                memory = max(memory for _, memory in runs)
                print(f"{copies * 13:5} rules, {cores} core(s), {tool:24} median {statistics.median(seconds):8.3f} s"
                      f"  best {min(seconds):8.3f} s  peak {memory:7.0f} MB", flush=True)
            os.sched_setaffinity(0, range(os.cpu_count()))


if __name__ == "__main__":
    sys.exit(main())
