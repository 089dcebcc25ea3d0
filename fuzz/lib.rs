//! What holds of every input of the project, whatever is in it. The fuzz targets ask it of what libFuzzer makes up, the tests
//! of what they damage themselves.

pub mod accounting;
pub mod statements;
