//! One report value, many renderers.
