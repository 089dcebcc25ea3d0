//! Tables as the engine sees them: now, and as of any commit.
