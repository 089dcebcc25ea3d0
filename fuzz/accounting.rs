//! What must hold of every input, whatever is in it: it is read to its end, and each of its lines is accounted for.

use std::io::Cursor;
use std::ops::ControlFlow;

use blast_radius::capture::{CaptureError, FormatChoice, Input, read};

/// Reads the bytes as the format of this name.
///
/// # Panics
/// Where the reading stops, a rejected line has no reason, or the counts do not agree: that is a finding.
pub fn read_as(format: &str, bytes: &[u8]) {
    let format = FormatChoice::named(format).expect("a format");
    let mut rejected = 0;
    let input = Input::from_reader("fuzz", Cursor::new(bytes.to_vec()));
    let outcome = read(input, &format, &mut |recording| {
        assert!(recording.rejected.iter().all(|line| !line.reason.is_empty() && line.line > 0));
        rejected += recording.rejected.len() as u64;
        ControlFlow::Continue(())
    });
    match outcome {
        Ok(summary) => assert_eq!(summary.rejected, rejected),
        // A plain log of which no line tells the prefix can be read once the prefix is named.
        Err(CaptureError::UnknownPrefix { .. }) => assert_eq!(rejected, 0),
        Err(error) => panic!("damage is no error: {error}"),
    }
}
