//! What happened, put together: writes joined to their statements, transactions and releases.
