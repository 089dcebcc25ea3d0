//! Outside bytes → model. One file per format.
