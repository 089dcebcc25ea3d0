//! The durable history: append and read. Delta Lake tables.
