"""The rules of rules.rs for the other tools: their conditions, and where each tool finds the tables."""

import json
import sys
from pathlib import Path

KEY = "l_orderkey, l_linenumber"
UNIQUE = f"SELECT {KEY} FROM lineitem WHERE ({KEY}) IN (SELECT {KEY} FROM lineitem GROUP BY {KEY} HAVING count(*) > 1)"
REFERENCE = f"SELECT {KEY} FROM lineitem l WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.o_orderkey = l.l_orderkey)"
MODES = ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"]


def only(copy):
    """The rows that the first rule of a copy is about; the first copy is about all."""
    return f"l_linenumber <> {100 + copy}" if copy else None


def regex(copy):
    return f"^[A-Z {copy % 10}]+$"


def expressions(copy):
    """The rules that no tool has a kind for, as what must hold."""
    never = 100 + copy
    return {
        "received": f"l_receiptdate > l_shipdate OR l_linenumber = {never}",
        "price": f"l_extendedprice >= -{copy}",
        "state": f"(l_linestatus = 'O') = (l_shipdate > '1995-06-17') OR l_linenumber = {never}",
    }


def conditions(copy, matches):
    """Rules about a row by name, as a condition for a row in breach; `matches` spells a regular expression."""
    condition = f"{only(copy)} AND " if copy else ""
    modes = ", ".join(f"'{mode}'" for mode in [*MODES, str(copy)])
    return {
        "shipped": f"{condition}l_shipdate IS NULL",
        "quantity": f"l_quantity < 1 OR l_quantity > {50 + copy}",
        "discount": f"l_discount < 0 OR l_discount > 0.1{copy}",
        "tax": f"l_tax < -{copy} OR l_tax > 0.08",
        "returned": f"l_returnflag NOT IN ('A', 'N', 'R', '{copy}')",
        "mode": f"l_shipmode NOT IN ({modes})",
        "instruction": f"NOT {matches('l_shipinstruct', regex(copy))}",
        **{name: f"NOT ({demand})" for name, demand in expressions(copy).items()},
    }


def by_duckdb(column, expression):
    return f"regexp_matches({column}, '{expression}')"


def by_postgres(column, expression):
    return f"({column} ~ '{expression}')"


class Task:
    """What a tool's script is started with: FOLDER COPIES URL ANSWER; URL is `-` for the Parquet files."""

    def __init__(self):
        folder, copies, url, answer = sys.argv[1:5]
        self.folder, self.copies, self.answer = Path(folder), int(copies), Path(answer)
        self.url = None if url == "-" else url
        self.work = self.folder / f"{Path(sys.argv[0]).stem}-{copies}-{'server' if self.url else 'files'}"
        self.work.mkdir(exist_ok=True)

    def duckdb_file(self):
        """A new DuckDB file with the tables as views."""
        import duckdb

        path = self.work / "tables.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            for table in ["lineitem", "orders"]:
                source = self.folder / "data" / f"{table}.parquet"
                connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{source}')")
        return path

    def tell(self, found):
        """Hands over what was found: of each rule the keys, or how many violations."""
        self.answer.write_text(json.dumps(found))
