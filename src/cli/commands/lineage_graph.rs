//! `lineage` without `--sql`: the graph of everything that the project knows.

use std::io::Write as _;

use crate::catalog::DatabaseAddress;
use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, LineageArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::executions::{Counted, counted};
use crate::cli::investigation::Opened;
use crate::cli::output::write_result;
use crate::lineage::graph::{Direction, Focus, LineageGraph, LineageSources, build};
use crate::model::{TableColumn, TableName, Timestamp};
use crate::report::lineage::{
    OpenLineageNames, write_explanation_text, write_graph_dot, write_graph_json, write_graph_mermaid,
    write_graph_openlineage, write_graph_text,
};

/// Builds the graph of the project that the current folder belongs to, and prints the part that was asked for.
///
/// # Errors
/// Bad arguments, a table or column that the graph does not have, input that cannot be read.
pub async fn lineage_graph(global: &GlobalArguments, arguments: &LineageArguments) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    if !arguments.path.is_empty() && !matches!(format, Format::Text | Format::Json) {
        return Err(Failure::new("draw an explanation: --path is printed as text or json only"));
    }
    let opened = Opened::open().await?;
    let stated = opened.store.lineage().await?;
    let Counted { executions, read } = counted(&opened).await?;
    if global.verbose {
        // Where standard error is closed, nobody asks.
        let _ = writeln!(std::io::stderr(), "records read of the store: {read}");
    }
    let whole = build(LineageSources {
        executions: &executions,
        derives: &opened.project.derives,
        stated: &stated,
        schemas: opened.catalog.schemas(),
        declared: opened.catalog.declarations(),
    });
    let (focus, path) = (focus(&whole, arguments)?, path(&whole, arguments)?);
    let hops = path.as_ref().map(|(from, to)| whole.explanation(from, to).unwrap_or_default());
    let graph = whole.focused(&focus).map_err(|name| unknown_name(&name))?;
    let of_columns = !focus.columns.is_empty();
    let address = DatabaseAddress::of(&opened.database);
    write_result(global, |out| match (format, &path, &hops) {
        (Format::Text, Some((from, to)), Some(hops)) => {
            Ok(write_explanation_text(from, to, hops, global.verbose, out)?)
        }
        (Format::Text, ..) => Ok(write_graph_text(&graph, global.verbose, out)?),
        (Format::Json, ..) => Ok(write_graph_json(&graph, hops.as_deref(), out)?),
        (Format::Dot, ..) => Ok(write_graph_dot(&graph, of_columns, out)?),
        (Format::Mermaid, ..) => Ok(write_graph_mermaid(&graph, of_columns, out)?),
        (Format::OpenLineage, ..) => {
            let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
            let names = OpenLineageNames { dataset: &|table| address.dataset(table), now };
            Ok(write_graph_openlineage(&graph, &names, out)?)
        }
    })?;
    Ok(ExitStatus::NothingFound)
}

#[derive(Clone, Copy)]
enum Format {
    Text,
    Json,
    Dot,
    Mermaid,
    OpenLineage,
}

impl Format {
    fn named(name: Option<&str>) -> Result<Self, Failure> {
        match name {
            None | Some("text") => Ok(Format::Text),
            Some("json") => Ok(Format::Json),
            Some("dot") => Ok(Format::Dot),
            Some("mermaid") => Ok(Format::Mermaid),
            Some("openlineage") => Ok(Format::OpenLineage),
            Some(other) => Err(Failure::new(format!("print the lineage as '{other}': no such format"))
                .with_help("Formats: text, json, dot, mermaid, openlineage.")),
        }
    }
}

fn focus(graph: &LineageGraph, arguments: &LineageArguments) -> Result<Focus, Failure> {
    let direction = match (arguments.upstream, arguments.downstream) {
        (true, false) => Direction::Upstream,
        (false, true) => Direction::Downstream,
        _ => Direction::Both,
    };
    let tables: Vec<TableName> = arguments.table.iter().map(|name| table(graph, name)).collect::<Result<_, _>>()?;
    let columns: Vec<TableColumn> =
        arguments.column.iter().map(|name| column(graph, name)).collect::<Result<_, _>>()?;
    Ok(Focus { tables, columns, direction })
}

fn path(graph: &LineageGraph, arguments: &LineageArguments) -> Result<Option<(TableColumn, TableColumn)>, Failure> {
    match arguments.path.as_slice() {
        [from, to] => Ok(Some((column(graph, from)?, column(graph, to)?))),
        _ => Ok(None),
    }
}

/// The table of this name; a bare name is one in `public`.
fn table(graph: &LineageGraph, name: &str) -> Result<TableName, Failure> {
    let in_public = format!("public.{name}");
    let found = graph.tables().find(|table| [name, in_public.as_str()].contains(&table.to_string().as_str()));
    found.cloned().ok_or_else(|| unknown_name(name))
}

fn column(graph: &LineageGraph, name: &str) -> Result<TableColumn, Failure> {
    let in_public = format!("public.{name}");
    let columns = graph.columns();
    let found = columns.iter().find(|column| [name, in_public.as_str()].contains(&column.to_string().as_str()));
    found.map(|column| (*column).clone()).ok_or_else(|| unknown_name(name))
}

fn unknown_name(name: &str) -> Failure {
    Failure::new(format!("find {name} in the lineage graph: nothing that is known reads or writes it"))
        .with_help("List what is known: blast-radius lineage.")
}
