//! What `#[task]` refuses, it refuses at the right place and with a way out.
//!
//! The expected texts are those of the toolchain that the project is built with; a new one may word its own part
//! anew. `TRYBUILD=overwrite cargo test -p procpool-macros` writes them again, for a human to read the change.

#[test]
fn refusals_point_at_the_trouble_and_name_a_way_out() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
