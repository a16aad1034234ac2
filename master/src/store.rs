//! SQLite: journal, jobs, results, roster, audit, retained topics; one writer, group commit.
