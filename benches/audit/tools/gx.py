"""Great Expectations: a suite over SQL, with the keys of the failing rows as their index; of a server only."""

import logging
import os
import warnings

from rules import KEY, MODES, Task, expressions, only, regex

os.environ["GX_ANALYTICS_ENABLED"] = "false"
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

KEYS = [name.strip() for name in KEY.split(",")]
REFERENCE = "SELECT l_orderkey, l_linenumber FROM {batch} WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.o_orderkey = l_orderkey)"


def expectations(gxe, copy):
    """An expectation for each rule."""
    shipped = f"SELECT {KEY} FROM {{batch}} WHERE l_shipdate IS NULL AND {only(copy)}"
    found = {
        "shipped": gxe.UnexpectedRowsExpectation(unexpected_rows_query=shipped)
        if only(copy)
        else gxe.ExpectColumnValuesToNotBeNull(column="l_shipdate"),
        "quantity": gxe.ExpectColumnValuesToBeBetween(column="l_quantity", min_value=1, max_value=50 + copy),
        "discount": gxe.ExpectColumnValuesToBeBetween(column="l_discount", min_value=0, max_value=float(f"0.1{copy}")),
        "tax": gxe.ExpectColumnValuesToBeBetween(column="l_tax", min_value=-copy, max_value=0.08),
        "returned": gxe.ExpectColumnValuesToBeInSet(column="l_returnflag", value_set=["A", "N", "R", str(copy)]),
        "mode": gxe.ExpectColumnValuesToBeInSet(column="l_shipmode", value_set=[*MODES, str(copy)]),
        "instruction": gxe.ExpectColumnValuesToMatchRegex(column="l_shipinstruct", regex=regex(copy)),
        "line": gxe.ExpectCompoundColumnsToBeUnique(column_list=KEYS),
        "order": gxe.UnexpectedRowsExpectation(unexpected_rows_query=REFERENCE),
        "rows": gxe.ExpectTableRowCountToBeBetween(min_value=1 + copy),
    }
    for rule, demand in expressions(copy).items():
        query = f"SELECT {KEY} FROM {{batch}} WHERE NOT ({demand})"
        found[rule] = gxe.UnexpectedRowsExpectation(unexpected_rows_query=query)
    return found


def main():
    import great_expectations as gx
    import great_expectations.expectations as gxe

    task = Task()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    assert task.url, "only a server"
    source = context.data_sources.add_postgres("bench", connection_string=task.url.replace("postgresql:", "postgresql+psycopg2:"))
    batch = source.add_table_asset("lineitem", table_name="lineitem").add_batch_definition_whole_table("all").get_batch()
    found = {}
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": KEYS}
    for copy in range(task.copies):
        for rule, expectation in expectations(gxe, copy).items():
            result = batch.validate(expectation, result_format=form).result
            if rule == "rows":
                continue
            # Of a compound key, the values are the keys.
            index = result.get("unexpected_index_list", result.get("unexpected_list"))
            if index is None:
                index = result["details"]["unexpected_rows"]
                if len(index) < result["observed_value"]:
                    # Of a query it hands out the first few rows, and tells how many there are.
                    found[f"{rule}-{copy}"] = int(result["observed_value"])
                    continue
            found[f"{rule}-{copy}"] = [[row[key] for key in KEYS] for row in index]
    task.tell(found)


if __name__ == "__main__":
    main()
