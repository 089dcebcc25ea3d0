"""Soda: a data contract; it tells how many rows fail."""

import json
import logging
from urllib.parse import urlparse

from rules import MODES, Task, expressions, only, regex


def contract(dataset, orders, copies):
    columns = {}
    checks = []
    for copy in range(copies):
        name = {"qualifier": f"copy{copy}"}

        def add(column, kind, content, name=name):
            columns.setdefault(column, []).append({kind: {**name, **content}})

        condition = only(copy)
        add("l_shipdate", "missing", {"name": f"shipped-{copy}", **({"filter": condition} if condition else {})})
        add("l_quantity", "invalid", {"name": f"quantity-{copy}", "valid_min": 1, "valid_max": 50 + copy})
        add("l_discount", "invalid", {"name": f"discount-{copy}", "valid_min": 0, "valid_max": float(f"0.1{copy}")})
        add("l_tax", "invalid", {"name": f"tax-{copy}", "valid_min": -copy, "valid_max": 0.08})
        add("l_returnflag", "invalid", {"name": f"returned-{copy}", "valid_values": ["A", "N", "R", str(copy)]})
        add("l_shipmode", "invalid", {"name": f"mode-{copy}", "valid_values": [*MODES, str(copy)]})
        form = {"name": "upper case", "regex": regex(copy)}
        add("l_shipinstruct", "invalid", {"name": f"instruction-{copy}", "valid_format": form})
        reference = {"dataset": orders, "column": "o_orderkey"}
        add("l_orderkey", "invalid", {"name": f"order-{copy}", "valid_reference_data": reference})
        for rule, demand in expressions(copy).items():
            qualifier = f"{rule}{copy}"
            checks.append({"failed_rows": {"name": f"{rule}-{copy}", "qualifier": qualifier, "expression": f"NOT ({demand})"}})
        unique = {"name": f"line-{copy}", "columns": ["l_orderkey", "l_linenumber"], **name}
        checks.append({"duplicate": unique})
        checks.append({"row_count": {"name": f"rows-{copy}", **name, "threshold": {"must_be_greater_than_or_equal": 1 + copy}}})
    listed = [{"name": column, "checks": of_column} for column, of_column in columns.items()]
    return {"dataset": dataset, "columns": listed, "checks": checks}


def source(task):
    if task.url is None:
        return {"type": "duckdb", "name": "bench", "connection": {"database": str(task.duckdb_file())}}, "bench/main"
    url = urlparse(task.url)
    database = url.path.lstrip("/")
    connection = {"host": url.hostname, "port": url.port or 5432, "database": database, "user": url.username}
    connection["password"] = url.password or "none"
    return {"type": "postgres", "name": "bench", "connection": connection}, f"bench/{database}/public"


def main():
    from soda_core.contracts import verify_contract_locally

    logging.disable(logging.CRITICAL)
    task = Task()
    settings, prefix = source(task)
    (task.work / "source.yml").write_text(json.dumps(settings))
    text = json.dumps(contract(f"{prefix}/lineitem", f"{prefix}/orders", task.copies))
    (task.work / "contract.yml").write_text(text)
    session = verify_contract_locally(
        data_source_file_path=str(task.work / "source.yml"), contract_file_path=str(task.work / "contract.yml")
    )
    found = {}
    for result in session.contract_verification_results:
        for check in result.check_results:
            values = check.diagnostic_metric_values
            counts = [values[key] for key in ("missing_count", "invalid_count", "failed_rows_count", "duplicate_count") if key in values]
            found[check.check.name] = counts[-1] if counts else int(check.is_failed)
    task.tell(found)


if __name__ == "__main__":
    main()
