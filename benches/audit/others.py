"""The same rules in other tools, in turns with blast-radius, on the tables that `PREPARE=1 cargo bench --bench audit` wrote.

    pip install duckdb psycopg[binary]
    python benches/audit/others.py FOLDER BLAST_RADIUS [--runs 5] [--copies 1,20] [--cores 1,2] [--postgres URL]

Prints one line for each tool, number of rules and number of cores: median and best of the runs in seconds, peak memory in MB.
Every tool gives every failing key, and the keys are compared with the known ones. FOLDER is a `scale-N` folder. With
--postgres the tables are loaded into that database first, where they are missing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def rules(copy):
    """Row rules by name, as a condition for a row in breach; the same as in rules.rs."""
    never = 100 + copy
    condition = f"l_linenumber <> {never} AND " if copy else ""
    modes = ", ".join(f"'{mode}'" for mode in ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK", str(copy)])
    return {
        "shipped": f"{condition}l_shipdate IS NULL",
        "quantity": f"l_quantity < 1 OR l_quantity > {50 + copy}",
        "discount": f"l_discount < 0 OR l_discount > 0.1{copy}",
        "tax": f"l_tax < -{copy} OR l_tax > 0.08",
        "returned": f"l_returnflag NOT IN ('A', 'N', 'R', '{copy}')",
        "mode": f"l_shipmode NOT IN ({modes})",
        "instruction": "NOT {matches}".replace("{matches}", "MATCHES(" + f"'^[A-Z {copy % 10}]+$'" + ")"),
        "received": f"NOT (l_receiptdate > l_shipdate OR l_linenumber = {never})",
        "price": f"NOT l_extendedprice >= -{copy}",
        "state": f"NOT ((l_linestatus = 'O') = (l_shipdate > '1995-06-17') OR l_linenumber = {never})",
    }


def spelled(condition, dialect):
    """The condition in the words of a dialect."""
    if "MATCHES(" not in condition:
        return condition
    regex = condition.split("MATCHES(")[1].rstrip(")")
    if dialect == "duckdb":
        return f"NOT regexp_matches(l_shipinstruct, {regex})"
    return f"l_shipinstruct !~ {regex}"


KEY = "l_orderkey, l_linenumber"
UNIQUE = f"SELECT {KEY} FROM lineitem WHERE ({KEY}) IN (SELECT {KEY} FROM lineitem GROUP BY {KEY} HAVING count(*) > 1)"
REFERENCE = f"SELECT {KEY} FROM lineitem l WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.o_orderkey = l.l_orderkey)"


def separate(query, copies, dialect):
    """A query for each rule, as everybody writes them first."""
    found = {}
    for copy in range(copies):
        for name, condition in rules(copy).items():
            found[f"{name}-{copy}"] = query(f"SELECT {KEY} FROM lineitem WHERE {spelled(condition, dialect)}")
        found[f"line-{copy}"] = query(UNIQUE)
        found[f"order-{copy}"] = query(REFERENCE)
        query("SELECT count(*) FROM lineitem")
    return found


def one_pass(query, copies, dialect):
    """One query for all rules about a row; what does not depend on the copy is asked once."""
    names, conditions = [], []
    for copy in range(copies):
        for name, condition in rules(copy).items():
            names.append(f"{name}-{copy}")
            conditions.append(f"({spelled(condition, dialect)})")
    flags = ", ".join(f"{condition} AS c{place}" for place, condition in enumerate(conditions))
    found = {name: [] for name in names}
    for row in query(f"SELECT {KEY}, {flags} FROM lineitem WHERE {' OR '.join(conditions)}"):
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
            listed = sorted(tuple(int(part) for part in key) for key in found[f"{rule}-{copy}"])
            assert listed == [tuple(key) for key in keys], f"{rule}-{copy}: {len(listed)} listed, {len(keys)} known"


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
        raise SystemExit(told)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("program")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--copies", default="1,20")
    parser.add_argument("--cores", default="1,2")
    parser.add_argument("--postgres")
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    expected = json.loads((arguments.folder / "expected.json").read_text())
    if arguments.postgres:
        load(arguments)
    for copies in map(int, arguments.copies.split(",")):
        for cores in map(int, arguments.cores.split(",")):
            project = arguments.folder / f"rules-{copies}"
            tools = {}
            if arguments.postgres:
                server = arguments.folder / f"server-{copies}"
                server.mkdir(exist_ok=True)
                (server / "rules.yaml").write_text((project / "rules.yaml").read_text())
                settings = (project / "blast-radius.toml").read_text()
                (server / "blast-radius.toml").write_text(settings.replace('files = "../data"', f'url = "{arguments.postgres}"'))
                tools["blast-radius"] = lambda: blast_radius(arguments, server, copies, expected)
                tools["SQL, query by query"] = lambda: separate(postgres_query(arguments.postgres), copies, "postgres")
                tools["SQL, one pass"] = lambda: one_pass(postgres_query(arguments.postgres), copies, "postgres")
            else:
                tools["blast-radius"] = lambda: blast_radius(arguments, project, copies, expected)
                tools["DuckDB, query by query"] = lambda: separate(duckdb_query(arguments.folder, cores), copies, "duckdb")
                tools["DuckDB, one pass"] = lambda: one_pass(duckdb_query(arguments.folder, cores), copies, "duckdb")
            os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0) if cores > 1 else {0})[:cores]))
            took = {tool: [] for tool in tools}
            for run in range(arguments.runs):
                for tool, work in tools.items():
                    # The keys are compared once, outside of what is measured.
                    if run == 0:
                        measured(lambda: check(work(), expected, copies))
                    took[tool].append(measured(work))
            for tool, runs in took.items():
                seconds = [seconds for seconds, _ in runs]
                memory = max(memory for _, memory in runs)
                print(f"{copies * 13:5} rules, {cores} core(s), {tool:24} median {statistics.median(seconds):8.3f} s"
                      f"  best {min(seconds):8.3f} s  peak {memory:7.0f} MB", flush=True)
            os.sched_setaffinity(0, range(os.cpu_count()))


if __name__ == "__main__":
    sys.exit(main())
