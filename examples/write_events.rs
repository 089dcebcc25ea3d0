//! An application that records its own writes: `cargo run --example write_events -- events.ndjson`.
//!
//! With `--schema` it prints the JSON Schema of an event: `docs/event.schema.json` is made so.

use std::error::Error;
use std::path::Path;

use blast_radius::capture::{EventWriter, ReadRecord, WriteEvent, WriteOperation};

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1).ok_or("name the file to append to, or --schema")?;
    if argument == "--schema" {
        println!("{:#}", WriteEvent::json_schema());
        return Ok(());
    }
    let writer = EventWriter::append_to(Path::new(&argument))?;
    // A request handler: the price is read, the order written, and both are told.
    std::thread::scope(|scope| {
        let handlers: Vec<_> = (1..=4_u64)
            .map(|order| {
                scope.spawn({
                    let writer = &writer;
                    move || writer.write(&placed(order))
                })
            })
            .collect();
        handlers.into_iter().try_for_each(|handler| match handler.join() {
            Ok(written) => written.map_err(Into::into),
            Err(_) => Err(Box::<dyn Error>::from("a handler panicked")),
        })
    })?;
    writer.flush()?;
    Ok(())
}

fn placed(order: u64) -> WriteEvent {
    let mut event = WriteEvent::now("public.orders", WriteOperation::Insert);
    event.service = Some("shop".to_owned());
    event.release = Some("v42".to_owned());
    event.key.insert("id".to_owned(), order.into());
    // Money as text: its digits are kept as they are.
    let columns = [("id", order.into()), ("sku", "A1".into()), ("total", "19.90".into())];
    event.after = Some(columns.into_iter().map(|(column, value)| (column.to_owned(), value)).collect());
    let price = [("sku".to_owned(), "A1".into())].into_iter().collect();
    event.reads =
        vec![ReadRecord { table: "public.prices".to_owned(), key: price, columns: vec!["amount".to_owned()] }];
    event
}
