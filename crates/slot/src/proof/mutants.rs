//! Seeded bugs, each of which the proof must find.
