//! The tables with their faults, the rules, and the keys of the rows at fault: written once, and read by every tool.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::datatypes::{Date32Type, Decimal128Type, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatchReader;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{LineItemGenerator, OrderGenerator};
use tpchgen_arrow::{LineItemArrow, OrderArrow};

use crate::rules;

/// One row in so many has a given fault.
const EVERY: usize = 100_003;
/// What the fault of each rule is, in the order of the rows that have it.
const FAULTS: [&str; 12] = [
    "shipped",
    "quantity",
    "discount",
    "tax",
    "returned",
    "mode",
    "instruction",
    "received",
    "price",
    "state",
    "line",
    "order",
];

/// `(l_orderkey, l_linenumber)` of the rows at fault, sorted.
pub type Keys = Vec<(i64, i64)>;

/// The folder for a scale factor; its files are written where they are missing.
pub fn prepare(scale: f64) -> PathBuf {
    let root = std::env::var_os("AUDIT_BENCH")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-bench"), PathBuf::from);
    let folder = root.join(format!("scale-{scale}"));
    std::fs::create_dir_all(folder.join("data")).expect("the folder can be made");
    if !folder.join("expected.json").exists() {
        write_orders(&folder, scale);
        let mut keys = write_lines(&folder, scale);
        keys.values_mut().for_each(|keys| keys.sort_unstable());
        let text = serde_json::to_string(&keys).expect("keys are JSON");
        std::fs::write(folder.join("expected.json"), text).expect("the keys can be written");
    }
    for copies in [1, 20, 100] {
        write_project(&folder, copies);
    }
    folder
}

/// The keys of the rows at fault by rule.
pub fn expected(folder: &Path) -> BTreeMap<String, Keys> {
    let text = std::fs::read_to_string(folder.join("expected.json")).expect("the keys are there");
    serde_json::from_str(&text).expect("the keys are JSON")
}

/// The keys that a run of the program lists, by rule.
pub fn listed(records: &Path) -> BTreeMap<String, Keys> {
    let mut listed: BTreeMap<String, Keys> = BTreeMap::new();
    for line in std::fs::read_to_string(records).expect("the records are there").lines() {
        let violation: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let number = |column: &str| violation["key"][column].as_i64().expect("a key is of numbers");
        let rule = violation["rule"].as_str().expect("a rule has a name").to_owned();
        listed.entry(rule).or_default().push((number("l_orderkey"), number("l_linenumber")));
    }
    listed.values_mut().for_each(|keys| keys.sort_unstable());
    listed
}

fn write_project(folder: &Path, copies: usize) {
    let project = folder.join(format!("rules-{copies}"));
    std::fs::create_dir_all(&project).expect("the folder can be made");
    let settings = "[database]\nfiles = \"../data\"\n\n[audit]\nrules = [\"rules.yaml\"]\n\n\
                    [tables.\"public.lineitem\"]\nkey = [\"l_orderkey\", \"l_linenumber\"]\n\n\
                    [tables.\"public.orders\"]\nkey = [\"o_orderkey\"]\n";
    std::fs::write(project.join("blast-radius.toml"), settings).expect("the project file can be written");
    std::fs::write(project.join("rules.yaml"), rules::yaml(copies)).expect("the rules can be written");
}

fn write_orders(folder: &Path, scale: f64) {
    write_table(&folder.join("data/orders.parquet"), OrderArrow::new(OrderGenerator::new(scale, 1, 1)), |batch| batch);
}

fn write_lines(folder: &Path, scale: f64) -> BTreeMap<&'static str, Keys> {
    let mut faults = Faults { row: 0, keys: FAULTS.iter().map(|fault| (*fault, Keys::new())).collect() };
    let lines = LineItemArrow::new(LineItemGenerator::new(scale, 1, 1));
    write_table(&folder.join("data/lineitem.parquet"), lines, |batch| faults.put_into(&batch));
    faults.keys
}

fn write_table(path: &Path, batches: impl RecordBatchReader, mut change: impl FnMut(RecordBatch) -> RecordBatch) {
    let level = ZstdLevel::try_new(1).expect("1 is a level");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(122_880))
        .build();
    let schema = nullable(&batches.schema());
    let file = File::create(path).expect("the file can be made");
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).expect("a writer");
    for batch in batches {
        let batch = change(batch.expect("a batch"));
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).expect("the same columns");
        writer.write(&batch).expect("rows can be written");
    }
    writer.close().expect("the file can be finished");
}

/// Columns with faults may hold NULL.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

struct Faults {
    row: usize,
    keys: BTreeMap<&'static str, Keys>,
}

impl Faults {
    fn put_into(&mut self, batch: &RecordBatch) -> RecordBatch {
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        let place = |name: &str| batch.schema().index_of(name).expect("lineitem has the column");
        for within in 0..batch.num_rows() {
            let (fault, rest) = (self.row % EVERY / 1_009, self.row % EVERY % 1_009);
            self.row += 1;
            let Some(fault) = FAULTS.get(fault).filter(|_| rest == 7) else { continue };
            let number = |columns: &[ArrayRef], name: &str, row: usize| match name {
                "l_orderkey" => columns[place(name)].as_primitive::<Int64Type>().value(row),
                _ => i64::from(columns[place(name)].as_primitive::<Int32Type>().value(row)),
            };
            if *fault == "line"
                && (within == 0 || number(&columns, "l_orderkey", within) != number(&columns, "l_orderkey", within - 1))
            {
                // The first of its order has no line before it whose number it could repeat.
                continue;
            }
            let (name, changed) = changed(fault, within, |name| Arc::clone(&columns[place(name)]));
            columns[place(name)] = changed;
            let key = (number(&columns, "l_orderkey", within), number(&columns, "l_linenumber", within));
            let keys = self.keys.get_mut(fault).expect("every fault has its keys");
            keys.push(key);
            if *fault == "line" {
                keys.push(key);
            }
        }
        RecordBatch::try_new(nullable(&batch.schema()), columns).expect("the same columns")
    }
}

/// The column that the fault is in, with it.
fn changed(fault: &str, row: usize, column: impl Fn(&str) -> ArrayRef) -> (&'static str, ArrayRef) {
    let decimal = |name: &str, value: i128| -> ArrayRef {
        let array = column(name);
        let values = array.as_primitive::<Decimal128Type>().iter().enumerate();
        let values: Decimal128Array = values.map(|(place, old)| if place == row { Some(value) } else { old }).collect();
        Arc::new(values.with_precision_and_scale(15, 2).expect("it fits"))
    };
    let text = |name: &str, value: &str| -> ArrayRef {
        let array = column(name);
        let values = array.as_string_view().iter().enumerate();
        Arc::new(values.map(|(place, old)| if place == row { Some(value) } else { old }).collect::<StringViewArray>())
    };
    let date = |name: &str, value: Option<i32>| -> ArrayRef {
        let array = column(name);
        let values = array.as_primitive::<Date32Type>().iter().enumerate();
        Arc::new(values.map(|(place, old)| if place == row { value } else { old }).collect::<Date32Array>())
    };
    match fault {
        "shipped" => ("l_shipdate", date("l_shipdate", None)),
        "quantity" => ("l_quantity", decimal("l_quantity", 100_000)),
        "discount" => ("l_discount", decimal("l_discount", 500)),
        "tax" => ("l_tax", decimal("l_tax", 99_900)),
        "returned" => ("l_returnflag", text("l_returnflag", "X")),
        "mode" => ("l_shipmode", text("l_shipmode", "PIGEON")),
        "instruction" => ("l_shipinstruct", text("l_shipinstruct", "none at all")),
        "received" => ("l_receiptdate", date("l_receiptdate", Some(0))),
        "price" => ("l_extendedprice", decimal("l_extendedprice", -100_000_000)),
        "state" => {
            let status = column("l_linestatus");
            let other = if status.as_string_view().value(row) == "O" { "F" } else { "O" };
            ("l_linestatus", text("l_linestatus", other))
        }
        "line" => {
            let array = column("l_linenumber");
            let numbers = array.as_primitive::<Int32Type>();
            let before = numbers.value(row - 1);
            let values = numbers.iter().enumerate().map(|(place, old)| if place == row { Some(before) } else { old });
            ("l_linenumber", Arc::new(values.collect::<Int32Array>()))
        }
        "order" => {
            let array = column("l_orderkey");
            let values = array.as_primitive::<Int64Type>().iter().enumerate();
            let values = values.map(|(place, old)| if place == row { old.map(|old| -old) } else { old });
            ("l_orderkey", Arc::new(values.collect::<Int64Array>()))
        }
        other => unreachable!("there is no fault {other}"),
    }
}
