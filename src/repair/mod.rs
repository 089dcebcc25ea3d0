//! The difference of the worlds as guarded SQL, and its undo.
