//! The command line: parse, dispatch, exit code; the only printing.

fn main() {}
