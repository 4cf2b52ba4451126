"""Rows in the formats that a split can have."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet


def written(rows, how, folder):
    """Rows (dicts with the same keys) as a file in `folder`, as lists, or as a table."""
    table = pa.Table.from_pylist(rows)
    path = folder / f"rows.{how}"
    if how == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif how == "parquet":
        pa.parquet.write_table(table, path, row_group_size=2)
    elif how == "arrow":
        pa.feather.write_feather(table, path)
    elif how == "csv":
        pa.csv.write_csv(table, path)
    elif how == "lists":
        return {name: [row[name] for row in rows] for name in rows[0]}
    else:
        return table
    return path
