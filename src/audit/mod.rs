//! Rules → few scans → violations → the release that made each.
