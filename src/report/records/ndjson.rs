//! One JSON object a line: the records of `--format json`.

use std::io::Write;

use crate::report::{Report, ReportError};

pub(super) fn write(report: &Report<'_>, out: &mut (dyn Write + Send)) -> Result<(), ReportError> {
    for (_, record) in report.records() {
        serde_json::to_writer(&mut *out, &record)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
