//! One SQL text → what it reads and writes: tables, columns, keys, template and parameters.
