"""Pointblank: a validation plan over polars, with the failing rows as extracts; of the files only."""

from pathlib import Path
import sys

# This folder is not to stand before the libraries.
sys.path.append(sys.path.pop(0))
from rules import KEY, MODES, Task, only, regex  # noqa: E402

KEYS = [name.strip() for name in KEY.split(",")]
EVERY = 1_000_000_000


def plan(pb, pl, task, lines, orders):
    validation = pb.Validate(data=lines)
    names = []
    expressions = {
        # Its comparison of one column asks for NaN, which a decimal is not asked for.
        "price": lambda never: pl.col("l_extendedprice") >= 100 - never,
        "received": lambda never: (pl.col("l_receiptdate") > pl.col("l_shipdate")) | (pl.col("l_linenumber") == never),
        "state": lambda never: ((pl.col("l_linestatus") == "O") == (pl.col("l_shipdate") > pl.date(1995, 6, 17)))
        | (pl.col("l_linenumber") == never),
    }
    for copy in range(task.copies):
        never = 100 + copy
        subset = (lambda frame, never=never: frame.filter(pl.col("l_linenumber") != never)) if only(copy) else None
        names += ["shipped", "quantity", "discount", "tax", "returned", "mode", "instruction"]
        validation = (
            validation.col_vals_not_null("l_shipdate", pre=subset)
            .col_vals_between("l_quantity", 1, 50 + copy)
            .col_vals_between("l_discount", 0, float(f"0.1{copy}"))
            .col_vals_between("l_tax", -copy, 0.08)
            .col_vals_in_set("l_returnflag", ["A", "N", "R", str(copy)])
            .col_vals_in_set("l_shipmode", [*MODES, str(copy)])
            .col_vals_regex("l_shipinstruct", regex(copy))
        )
        for name, expression in expressions.items():
            names.append(name)
            # A row without one of the values passes.
            validation = validation.col_vals_expr(expression(never).fill_null(True))
        names += ["line", "order", "rows"]
        validation = (
            validation.rows_distinct(columns_subset=KEYS)
            .col_vals_in_table("l_orderkey", ref_table=orders, ref_column="o_orderkey", na_pass=True)
            .row_count_match(count=lines.height)
        )
    return validation, names


def main():
    import pointblank as pb
    import polars as pl

    task = Task()
    assert task.url is None, "only files"
    columns = [*KEYS, "l_shipdate", "l_quantity", "l_discount", "l_tax", "l_returnflag", "l_shipmode", "l_shipinstruct"]
    columns += ["l_receiptdate", "l_extendedprice", "l_linestatus"]
    lines = pl.read_parquet(Path(task.folder) / "data" / "lineitem.parquet", columns=columns)
    orders = pl.read_parquet(Path(task.folder) / "data" / "orders.parquet", columns=["o_orderkey"])
    validation, names = plan(pb, pl, task, lines, orders)
    validation = validation.interrogate(extract_limit=EVERY)
    extracts = validation.get_data_extracts()
    found = {}
    for step, name in enumerate(names, start=1):
        copy = (step - 1) * task.copies // len(names)
        extract = extracts.get(step)
        if name == "rows":
            continue
        if extract is None or set(KEYS) - set(getattr(extract, "columns", [])):
            found[f"{name}-{copy}"] = int(validation.n_failed(i=step, scalar=True))
        else:
            found[f"{name}-{copy}"] = [list(key) for key in extract.select(KEYS).rows()]
    task.tell(found)


if __name__ == "__main__":
    main()
